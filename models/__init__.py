"""Twins: pure mathematics, one folder per twin. No network, no files, no patient data at import."""
