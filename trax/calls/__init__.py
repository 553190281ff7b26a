"""Which run a call of a decorated function means, and whether it is still the same call."""
