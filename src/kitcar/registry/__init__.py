"""Content in a registry, over the distribution specification's HTTP API."""
