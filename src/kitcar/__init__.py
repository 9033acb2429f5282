"""kitcar takes a trained model to the server that answers with it, as one verifiable OCI artifact."""

__version__ = "0.1.0"
