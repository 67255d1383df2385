"""What a user can cause, said in one sentence."""


class UserError(Exception):
    """A mistake in the input. The command line prints its text and exits with 2, without a traceback."""
