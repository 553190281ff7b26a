"""One open run: brought back, driven step by step, checkpointed, and closed."""
