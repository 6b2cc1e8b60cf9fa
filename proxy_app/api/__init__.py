"""The HTTP interface: thin blueprints, and what they share about requests, files and errors."""
