"""Many calls of one function, each result stored by its item."""
