"""Venues only: one module each, and the files here are exactly the venues of the registry that are built."""
