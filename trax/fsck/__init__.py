"""Verifies, repairs, rewinds, forks and prunes stored runs; nothing in the engine imports this."""
