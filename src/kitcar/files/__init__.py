"""A directory tree on this machine, and the only writer of model files: safe paths, modes, atomic publish, resume."""
