"""Causes for which a loop stops early: signals, and the end of its time."""
