"""Ways to sum clipped patient gradients: closed forms, layer by layer, Opacus, and a reference.

All keep the contract of ``clipped_sum.ClippedSum`` and agree with each other; they differ in which
models they take and in speed. ``choice.engine_for`` picks one, ``validate.validate`` says why.
"""
