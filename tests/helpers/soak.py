"""Attacks of many random trials: few of them in every run of the tests, all of them with `make soak`."""

import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_TALLIES = pytest.StashKey[list[str]]()


class Attack:
    """Counts the trials of an attack by their outcome, and collects those that fail.

    Attributes:
        full: whether all trials are run.
        outcomes: number of trials by outcome, such as "clear error".
    """

    def __init__(self, full: bool) -> None:
        self.full = full
        self.outcomes: Counter[str] = Counter()
        self.failures: list[str] = []

    def seeds(self, short: int, full: int) -> Iterator[int]:
        """Yield the seeds of the trials: `full` of them with ``--soak``, else `short`.

        Raises:
            AssertionError: after the last trial, with the seeds and causes of all failures, if any.
        """
        yield from range(full if self.full else short)
        assert not self.failures, f"{len(self.failures)} trials fell short\n" + "\n".join(self.failures)

    @contextmanager
    def trial(self, seed: int, description: str = "") -> Iterator[None]:
        """Count what happens inside as a failed trial if it raises an error, and go on with the next one."""
        try:
            yield
        except Exception:
            self.outcomes["fell short"] += 1
            self.failures.append(f"seed {seed} {description}\n{traceback.format_exc(limit=-4)}")

    def count(self, outcome: str) -> None:
        """Count a trial that the program survived."""
        self.outcomes[outcome] += 1

    def tally(self) -> str:
        """Return for example "500 tried: 300 clear error, 200 unharmed"."""
        counts = ", ".join(f"{number} {outcome}" for outcome, number in self.outcomes.most_common())
        return f"{self.outcomes.total()} tried: {counts}"


@pytest.fixture
def attack(request: pytest.FixtureRequest) -> Iterator[Attack]:
    made = Attack(full=request.config.getoption("--soak"))
    yield made
    tallies = request.config.stash.setdefault(_TALLIES, [])
    tallies.append(f"{request.node.name}: {made.tally()}")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run all trials of the attacks in tests/soak")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if tallies := config.stash.get(_TALLIES, []):
        terminalreporter.section("attacks")
        terminalreporter.write("".join(f"{tally}\n" for tally in tallies))
