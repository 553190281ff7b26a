"""Verifies a stored run and repairs it; nothing in the engine imports this."""
