"""A recording's way to a transcript, whoever asked for it."""
