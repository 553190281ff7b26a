"""Many runs of one function: it calls decorated functions, where a map calls ordinary ones."""
