"""The error that the commands end with."""


class CommandError(Exception):
    """A command cannot do its work; the message says what to do."""
