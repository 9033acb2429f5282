"""Content in a registry: protocol, challenge and upload as pure functions; transport, credentials, repository."""
