"""A part of the stand-in for NeMo; see models.py."""
