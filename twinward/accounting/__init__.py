"""What sampled releases cost: their privacy loss, composed, and the mu they are charged at."""
