"""Messages for people go to the logger "audiostride" and its children.

Other programs and notebooks steer them with the `logging` module, for instance by
``logging.basicConfig(level="INFO")``. The command line shows them on standard error.
"""

import logging
import sys

logger = logging.getLogger("audiostride")
logger.addHandler(logging.NullHandler())


class _StderrHandler(logging.StreamHandler):
    """Writes to what `sys.stderr` is at the time of the message: tests and notebooks replace it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> object:
        return sys.stderr


class _PlainFormatter(logging.Formatter):
    """The message alone; a warning begins with "note: "."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = "note: " if record.levelno == logging.WARNING else ""
        return prefix + record.getMessage()


def show_messages() -> None:
    """Show all messages on standard error, as the command line does. A second call changes nothing."""
    if not any(isinstance(handler, _StderrHandler) for handler in logger.handlers):
        handler = _StderrHandler()
        handler.setFormatter(_PlainFormatter())
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
