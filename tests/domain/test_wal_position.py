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
def test_includes_is_true_for_later_positions_of_the_same_timeline(
    wal_position: WalPosition, includes: bool
) -> None:
    assert wal_position.includes(WalPosition(1, 10)) is includes
