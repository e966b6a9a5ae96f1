"""The searches that are compared, each from its package as its users run it."""
