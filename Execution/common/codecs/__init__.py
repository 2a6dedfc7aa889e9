"""What venues speak, and nothing else: pure functions between the public shapes and each venue's own."""
