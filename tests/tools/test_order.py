"""The order of the tests on several workers."""

from collections import Counter
from dataclasses import dataclass

import pytest

from tests.conftest import ROOT
from tests.support.order import LONGEST, longest_first


@dataclass(frozen=True)
class Named:
    nodeid: str


TESTS = [Named(f"tests/test_short.py::test_{number}") for number in range(20)]
LONG = [Named(f"{module}::test_{number}") for module in LONGEST for number in range(2)]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_order_puts_the_longest_module_of_each_worker_first_and_keeps_every_test(workers: int) -> None:
    ordered = longest_first(TESTS + LONG, workers)
    assert Counter(ordered) == Counter(TESTS + LONG)
    starts = [len(ordered) * number // workers for number in range(workers)]
    assert [ordered[start].nodeid.partition("::")[0] for start in starts] == list(LONGEST[:workers])


def test_order_of_short_tests_stays() -> None:
    assert longest_first(TESTS, 3) == TESTS


def test_longest_modules_exist() -> None:
    assert [module for module in LONGEST if not (ROOT / module).is_file()] == []
