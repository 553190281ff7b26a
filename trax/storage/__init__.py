"""The files of a store: format, writing, reading and locking."""
