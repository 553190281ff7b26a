"""Optional libraries that trax works with; each module is imported only where it is used."""
