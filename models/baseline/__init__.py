"""What is usual for one patient, so that what is not can be noticed: at a fixed rate of alerts.

``engine`` follows a level and a trend per quantity and says how unusual an observation is,
``alerts`` turns that into alerts whose rate is held, ``twin`` is both as a twin, ``specs`` lists
the twins made of it, ``heartbeat`` makes observations of a recording, ``rules`` are a coach's.
"""
