"""What the tests need to know about each venue."""
