"""Plain loops: takes the frame of a suspended generator apart, and makes a generator from it."""
