"""Secure sum, profile A: what coordinator and nodes must agree on to the byte."""
