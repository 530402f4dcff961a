"""The method: from a prompt to an avatar by score distillation, one batch at a time."""
