"""Whether what was saved is whole, and going on from it."""
