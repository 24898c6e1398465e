import pytest

from service.domain.wal_position import Moment


@pytest.mark.parametrize(
    ("moment", "includes"),
    [
        (Moment(1, 10), True),
        (Moment(1, 11), True),
        (Moment(1, 9), False),
        (Moment(2, 11), False),
        (Moment(0, 11), False),
    ],
)
def test_compare_moments_later_on_the_same_timeline_includes(moment: Moment, includes: bool) -> None:
    assert moment.includes(Moment(1, 10)) is includes
