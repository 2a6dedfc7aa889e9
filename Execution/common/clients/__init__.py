"""One module for each venue: its SDK joined to our transport, clock and settings."""
