"""Reads a loop with a declared state, and finds why it would not resume exactly."""
