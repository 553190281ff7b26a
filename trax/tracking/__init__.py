"""What is stored beside the state at each step: positions of RNGs and output files."""
