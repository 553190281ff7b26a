"""Optional libraries that trax works with; each module is imported only when it is used."""
