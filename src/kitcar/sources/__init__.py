"""Where models come from: one module per URI scheme that lists parts and opens them; nothing else."""
