"""Messages for people go to the logger "audiostride" and its children.

Other programs and notebooks steer them with the `logging` module, for instance by
``logging.basicConfig(level="INFO")``. The command line shows them on standard error.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def messages_shown() -> Iterator[None]:
    """Show all messages on standard error, unless the program has decided itself where they go."""
    decided = any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers)
    if decided or logging.getLogger().handlers:
        yield
        return
    level = logger.level
    show_messages()
    try:
        yield
    finally:
        logger.handlers = [one for one in logger.handlers if not isinstance(one, _StderrHandler)]
        logger.setLevel(level)


def show_messages() -> None:
    """Show all messages on standard error, as the command line does. A second call changes nothing."""
    if not any(isinstance(handler, _StderrHandler) for handler in logger.handlers):
        handler = _StderrHandler()
        handler.setFormatter(_PlainFormatter())
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
