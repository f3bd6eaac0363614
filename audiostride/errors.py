"""Mistakes that the user can mend."""


class UserError(ValueError):
    """Says in one sentence what is wrong, where, and what to do. The command line shows it as it is."""
