"""Glucose in type-1 diabetes: virtual patients, and a personal model to ask what-if."""
