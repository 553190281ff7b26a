"""Calls of decorated functions: their runs, and the comparison with the stored call."""
