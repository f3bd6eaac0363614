"""Damage to files, and a limit to the time of what reads them."""

import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    7,
    1e300,
    float("nan"),
    "",
    "text",
    [],
    {},
    [[1]],
    {"a": 1},
    "9" * 50,
    -0.5,
)
LIMIT_S = 60


class HangError(BaseException):
    """A command took too long."""


@contextmanager
def limit() -> Iterator[None]:
    def stop(*args: Any) -> None:
        raise HangError(f"more than {LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def flip_bits(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 16))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def truncate(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.choice((0, 1, rng.randrange(len(content)), len(content) - 1))]


def overwrite(content: bytes, rng: random.Random) -> bytes:
    begin, length = rng.randrange(len(content)), rng.choice((1, 8, 100))
    return content[:begin] + rng.randbytes(length) + content[begin + length :]


def repeat(content: bytes, rng: random.Random) -> bytes:
    begin = rng.randrange(len(content))
    return content[:begin] + content[begin : begin + 50] + content[begin:]


def change_value(container: Any, rng: random.Random, values: tuple[Any, ...] = VALUES) -> None:
    """Replace a random value in nested mappings and lists, or remove a key."""
    while True:
        keys = list(container) if isinstance(container, dict) else list(range(len(container)))
        key = rng.choice(keys)
        inner = container[key]
        if not isinstance(inner, dict | list) or not inner or rng.random() < 0.3:
            break
        container = inner
    if rng.random() < 0.3:
        del container[key]
    else:
        container[key] = rng.choice(values)
