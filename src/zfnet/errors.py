"""Errors that the person at the keyboard can mend."""


class UserError(Exception):
    """A fault in what was asked for, not in the program.

    The message names the file, key or option at fault and says what to do. The command line prints
    it without a traceback and exits with status 2.
    """
