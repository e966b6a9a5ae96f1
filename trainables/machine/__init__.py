"""The machine that a trial runs on: its device, memory and disk, word that it is taken away, and signs of life."""
