"""Risk models over the electrocardiogram: what a heartbeat with twelve leads looks like.

A small convolutional network over a patient's middle beat, small enough to be trained under
patient-level privacy over a few hundred people. ``beats`` makes the middle beat of a recording,
``risk`` is the model as the registry gives it out, ``module`` the same in torch, ``recipe`` how it
is trained. Statements about groups; not a twin, and never called one.
"""
