"""The error that a user can act on."""


class UserError(Exception):
    """An error that the user can correct: a bad option, path, file or data set.

    The message is one line that names the thing, says what was expected and where. The command line prints it
    without a traceback and ends with exit status 2.
    """
