"""PERMISSION: who allowed what. Decides; never computes on a record."""
