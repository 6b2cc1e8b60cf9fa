"""What the speech servers have in common: WhisperX's and Parakeet's stand on it, it on neither.

Importing it loads no model library.
"""
