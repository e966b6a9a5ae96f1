"""What is taken out of a sweep: its fine-tunes, as files, as pictures they draw, and in a registry."""
