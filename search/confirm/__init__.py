"""A second look at what a search found: other seeds, and a panel that it never saw."""
