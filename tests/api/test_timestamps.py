"""The one format of times."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from service.api.schemas.common import timestamp

EAST = timezone(timedelta(hours=5, minutes=30))


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 678901, UTC), "2026-01-02T03:04:05.678901Z"),
        (datetime(2026, 1, 2, 3, 4, 5, 100, UTC), "2026-01-02T03:04:05.000100Z"),
        (datetime(2026, 1, 2, 3, 4, 5, 0, UTC), "2026-01-02T03:04:05.000000Z"),
        (datetime(2026, 1, 2, 3, 4, 5, 600000, EAST), "2026-01-01T21:34:05.600000Z"),
        (datetime(1, 1, 1, 0, 0, 0, 1, UTC), "0001-01-01T00:00:00.000001Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000000Z"),
    ],
)
def test_format_a_time_has_six_decimals_in_utc(at: datetime, text: str) -> None:
    assert timestamp(at) == text
