"""Pickles as plain data, read without executing anything that they name."""
