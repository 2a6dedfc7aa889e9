"""What every room of the package may use. Imports nothing from the rooms above."""
