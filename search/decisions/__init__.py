"""What `rungs.py` decides by, kept up as a sweep goes: rungs as they fill, trajectories, asynchronous promotion."""
