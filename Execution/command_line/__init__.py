"""The command line: what `python -m Execution` shows and answers. Modules here are called by people, never by modules."""
