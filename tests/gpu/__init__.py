"""What only a GPU can show; docs/gpu.md says how to run it."""
