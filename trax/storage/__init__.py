"""The files of a store: their format, and how they are written, read and locked."""
