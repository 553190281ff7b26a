"""Positions of RNGs and output files, stored beside the state at each step."""
