"""The method: from prompts to avatars by score distillation, one batch at a time."""
