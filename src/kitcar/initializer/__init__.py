"""The storage-initializer entrypoint: environment and arguments to frozen settings, then deliver."""
