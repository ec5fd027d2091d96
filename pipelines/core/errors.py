"""The one error that a user is meant to see."""


class UserError(Exception):
    """Something that the user can mend: bad option, path, file or data.

    The message is one line that names the thing, says what was expected and where. The command line prints it
    without a traceback and ends with exit status 2.
    """
