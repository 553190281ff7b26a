"""Verifies a stored run and repairs it; nothing in the engine depends on this."""
