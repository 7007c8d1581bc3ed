"""The one error type that is shown to users as a single line."""


class AmcError(Exception):
    """Wrong input: the message says what was wrong, where, and what to do. Entry points exit with code 2."""


def first_line(error: BaseException) -> str:
    """First line of another library's error message; its type if the message is empty."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
