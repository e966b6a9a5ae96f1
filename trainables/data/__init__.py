"""What a step learns from: the subject's pictures and the class's, with captions and poses."""
