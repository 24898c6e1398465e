"""The verdict of the timing proof on generated times. Tests do not assert what is measured."""

import random

import pytest

from tools.prove_timing.comparison import p_value, report, tail_p_value
from tools.prove_timing.logins import MAX_DIFFERENCE_MS, REFERENCE


def times(count: int, *, seed: int, shift_ms: float = 0.0, slow_share: float = 0.0) -> list[float]:
    chance = random.Random(seed)
    return [
        20 + shift_ms + abs(chance.gauss(0, 2)) + (30 if chance.random() < slow_share else 0)
        for _ in range(count)
    ]


@pytest.mark.parametrize(
    ("other", "distinguishable"),
    [
        (times(300, seed=2), []),
        (times(300, seed=2, shift_ms=3), []),
        (times(300, seed=2, shift_ms=6), ["unknown"]),
        (times(300, seed=2, shift_ms=-6), ["unknown"]),
        (times(300, seed=2, slow_share=0.3), ["unknown"]),
        (times(5, seed=2, shift_ms=6)[:1] + times(4, seed=3), []),
    ],
)
def test_report_returns_kinds_too_far_from_a_wrong_password(
    capsys: pytest.CaptureFixture[str], other: list[float], distinguishable: list[str]
) -> None:
    spent_ms = {REFERENCE: times(300, seed=1), "unknown": other}
    found = report("idle", spent_ms, reference=REFERENCE, max_difference_ms=MAX_DIFFERENCE_MS)
    assert found == distinguishable
    assert ("DIFFERS" in capsys.readouterr().out) == bool(distinguishable)


def test_p_value_is_high_for_one_distribution_and_low_for_two() -> None:
    one, same, other = times(300, seed=1), times(300, seed=2), times(300, seed=3, shift_ms=2)
    assert p_value(one, same) > 0.01 > 0.0001 > p_value(one, other)
    assert tail_p_value(one, same) > 0.01 > 0.0001 > tail_p_value(times(300, seed=4, slow_share=0.3), one)
