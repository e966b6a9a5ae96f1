"""What `rungs.py` decides by, kept up as a sweep goes: the rungs as they fill, trajectories, and asynchronous promotion."""
