"""The flags of kit, for everyone who is told by them: the command line and the containers."""
