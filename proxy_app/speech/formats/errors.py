"""The error of everything that reads."""


class FormatError(ValueError):
    """Text or JSON of the wrong form; the message names the place and what is expected there."""
