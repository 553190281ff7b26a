"""Replicas, and the stores of their objects."""
