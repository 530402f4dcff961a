"""The FLAME head model, from files that the user supplies."""
