"""Errors that users can correct themselves."""


class UserError(ValueError):
    """Says in one sentence what is wrong, where, and what to do. The command line prints it alone."""


class UsageError(Exception):
    """The arguments of a command are wrong."""
