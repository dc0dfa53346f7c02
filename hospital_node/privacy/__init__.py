"""The patient as the unit: clipped sums, noise, and the book of what was spent.

Nothing leaves this folder but what ``mechanism`` has noised and ``book`` has charged.
"""
