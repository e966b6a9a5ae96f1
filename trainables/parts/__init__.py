"""What of a base a recipe trains: LoRA adapters, whole weights, the subject's token."""
