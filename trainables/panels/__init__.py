"""What every checkpoint is scored on, and what the judges saw in it."""
