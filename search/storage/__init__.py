"""Where a sweep is kept: the home, a storage as well, who may write there, and which checkpoints stay."""
