"""The order of the tests on several workers."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

LONGEST = (
    "tests/migrations/test_walk.py",
    "tests/testkit/test_plugin.py",
    "tests/tools/test_releases.py",
    "tests/faults/test_processes.py",
    "tests/faults/test_read_replica.py",
    "tests/tools/test_fuzz.py",
    "tests/faults/test_mail.py",
    "tests/faults/test_migrations.py",
    "tests/server/test_serving.py",
    "tests/cli/test_environments.py",
)
"""Modules that take more than ten seconds, the longest first."""


class HasNodeId(Protocol):
    """A test."""

    @property
    def nodeid(self) -> str:
        """Its module and its name."""


Test = TypeVar("Test", bound=HasNodeId)


def longest_first(tests: Sequence[Test], workers: int) -> list[Test]:
    """Return the tests with the longest modules at the start of the workers' shares, in turn.

    `--dist worksteal` gives each worker an equal share in a row. A long test that starts last runs alone.
    """
    shares: list[list[Test]] = [[] for _ in range(workers)]
    for number, module in enumerate(LONGEST):
        shares[number % workers] += [test for test in tests if _module_of(test) == module]
    others = [test for test in tests if _module_of(test) not in LONGEST]
    for number, share in enumerate(shares):
        length = len(tests) * (number + 1) // workers - len(tests) * number // workers
        missing = max(length - len(share), 0) if number < workers - 1 else len(others)
        share += others[:missing]
        del others[:missing]
    return [test for share in shares for test in share]


def _module_of(test: HasNodeId) -> str:
    return test.nodeid.partition("::")[0]
