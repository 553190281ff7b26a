"""Crashes that can be enumerated, for tests of loops and of trax itself."""
