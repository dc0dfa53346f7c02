"""Pressure in the arteries as a Windkessel: the worked example of a twin. Simulation only."""
