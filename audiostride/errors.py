"""Errors that users can correct themselves."""


class UserError(ValueError):
    """Says in one sentence what is wrong, where, and what to do. The command line prints it alone."""


class UsageError(Exception):
    """The arguments of a command are wrong.

    Attributes:
        command: the command within the command, such as "folder" in audiostride prepare folder, or an empty
            string.
    """

    def __init__(self, message: str, command: str = "") -> None:
        super().__init__(message)
        self.command = command
