"""COORDINATOR: opens runs, adds masked vectors, releases models. Never sees a hospital's update."""
