"""The one error type that is shown to users as a single line."""


class AmcError(Exception):
    """Wrong input: the message says what was wrong, where, and what to do. Entry points exit with code 2."""
