"""What a user can cause, said in one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

from .files import first_line


class UserError(Exception):
    """A mistake in the input. The command line prints its text and exits with 2, without a traceback."""


@contextmanager
def user_errors() -> Iterator[None]:
    """Make a `UserError` of what the library raises for its input, and of a file or package that is not there."""
    try:
        yield
    except BrokenPipeError:  # the reader has closed the pipe, as `| head` does
        raise
    except (ValueError, OSError, ImportError) as e:
        raise UserError(first_line(e)) from e
