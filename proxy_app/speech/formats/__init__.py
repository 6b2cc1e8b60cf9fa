"""Transcripts in the shapes that clients ask for, and the readers of what engines answer."""
