"""Experiments in one process on files that lie together: never part of the network."""
