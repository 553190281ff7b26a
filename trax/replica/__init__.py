"""Replicas of runs in an object store, or in a directory that outlives the machine."""
