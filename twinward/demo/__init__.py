"""The demonstration: starts the public commands that it prints, nothing else."""
