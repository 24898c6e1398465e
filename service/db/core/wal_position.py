"""How far the primary has got, told by a statement that is run on it anyway."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import case, func, not_

from service.domain.wal_position import WalPosition

_FLUSHED = func.pg_current_wal_flush_lsn()
_IS_PRIMARY = not_(func.pg_is_in_recovery())
_TIMELINE_DIGITS = 8

# Both are asked while the statement runs, hence after its snapshot was taken: what it shows is included.
# A server in recovery has no position of this kind, and would refuse the whole statement.
WAL_POSITION_COLUMNS: tuple[Any, ...] = (
    case((_IS_PRIMARY, _FLUSHED)).label("flushed"),
    case((_IS_PRIMARY, func.pg_walfile_name(_FLUSHED))).label("wal_file"),
)
WAL_POSITION_WIDTH = len(WAL_POSITION_COLUMNS)


def wal_position_from(values: Sequence[Any]) -> WalPosition | None:
    """Make the moment from the values of `WAL_POSITION_COLUMNS`; None when the server takes no writes.

    The name of a file of the log begins with the timeline, in hexadecimal digits.
    """
    flushed, wal_file = values
    return WalPosition(int(wal_file[:_TIMELINE_DIGITS], 16), flushed) if wal_file is not None else None
