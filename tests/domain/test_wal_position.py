import pytest

from service.domain.wal_position import WalPosition


@pytest.mark.parametrize(
    ("wal_position", "includes"),
    [
        (WalPosition(1, 10), True),
        (WalPosition(1, 11), True),
        (WalPosition(1, 9), False),
        (WalPosition(2, 11), False),
        (WalPosition(0, 11), False),
    ],
)
def test_compare_moments_later_on_the_same_timeline_includes(
    wal_position: WalPosition, includes: bool
) -> None:
    assert wal_position.includes(WalPosition(1, 10)) is includes
