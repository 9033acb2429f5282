"""Content on this machine: memory, and KitOps-compatible local storage."""
