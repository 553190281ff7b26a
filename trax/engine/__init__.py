"""One open run: recovered, driven step by step, checkpointed, and closed."""
