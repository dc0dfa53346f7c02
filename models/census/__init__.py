"""The beds of a hospital: who comes, how long they stay, who is in; or daily counts alone."""
