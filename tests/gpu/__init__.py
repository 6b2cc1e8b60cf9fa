"""What only a GPU can show; README.md says how to run it."""
