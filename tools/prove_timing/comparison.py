"""Compare the durations of kinds of requests with those of a reference kind."""

import math
import statistics
from collections.abc import Mapping
from typing import Final

from service.cli.console import print_result

MAX_DIFFERENCE_SHARE: Final = 0.05
ALPHA: Final = 0.001


def report(
    title: str,
    spent_ms: Mapping[str, list[float]],
    *,
    reference: str,
    max_difference_ms: float,
) -> list[str]:
    """Print the comparison, and return the kinds that are distinguishable from the reference.

    A kind is distinguishable if its median or its 95th percentile differs by more than is allowed, and
    significantly. "noise" marks a difference that is not significant: the machine was too busy.
    """
    expected = spent_ms[reference]
    print_result(f"{title:<22}{'median':>13}{'p95':>13}{'differences':>24}{'p-values':>14}")
    distinguishable = []
    for kind, values in spent_ms.items():
        differences = [
            own - other for own, other in zip(_median_and_p95(values), _median_and_p95(expected), strict=True)
        ]
        p_values = (p_value(values, expected), tail_p_value(values, expected))
        large = [
            not _is_small(gap, other, max_difference_ms)
            for gap, other in zip(differences, _median_and_p95(expected), strict=True)
        ]
        differs = any(is_large and p < ALPHA for is_large, p in zip(large, p_values, strict=True))
        distinguishable += [kind] if differs else []
        remark = "  DIFFERS" if differs else "  noise" if any(large) else ""
        median, p95 = _median_and_p95(values)
        print_result(
            f"  {kind:<20}{median:>10.2f} ms{p95:>10.2f} ms"
            f"{differences[0]:>+10.2f} {differences[1]:>+10.2f} ms"
            f"{p_values[0]:>7.2f} {p_values[1]:>6.2f}{remark}"
        )
    return distinguishable


def p_value(one: list[float], other: list[float]) -> float:
    """Return the two-sided p-value of the Mann-Whitney U test, without ties."""
    ranked = sorted([(value, 0) for value in one] + [(value, 1) for value in other])
    rank_sum = sum(rank for rank, (_, source) in enumerate(ranked, 1) if source == 0)
    expected = len(one) * (len(ranked) + 1) / 2
    deviation = math.sqrt(expected * len(other) / 6)
    return math.erfc(abs(rank_sum - expected) / deviation / math.sqrt(2))


def tail_p_value(one: list[float], other: list[float]) -> float:
    """Return the p-value of the number of values above the other's 95th percentile."""
    beyond = sum(value > _median_and_p95(other)[1] for value in one)
    deviation = math.sqrt(len(one) * 0.05 * 0.95 * (1 + len(one) / len(other)))
    return math.erfc(abs(beyond - len(one) * 0.05) / deviation / math.sqrt(2))


def _median_and_p95(values: list[float]) -> tuple[float, float]:
    """Return median and 95th percentile."""
    return statistics.median(values), statistics.quantiles(values, n=20)[-1]


def _is_small(difference_ms: float, reference_ms: float, allowed_ms: float) -> bool:
    return abs(difference_ms) < max(allowed_ms, MAX_DIFFERENCE_SHARE * reference_ms)
