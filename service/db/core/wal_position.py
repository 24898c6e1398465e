"""The WAL position of the primary, as columns of a statement that runs there anyway."""

from typing import Any

from sqlalchemy import case, func, not_

from service.db.core.columns import Columns
from service.domain.wal_position import WalPosition

_FLUSHED = func.pg_current_wal_flush_lsn()
_IS_PRIMARY = not_(func.pg_is_in_recovery())
_TIMELINE_DIGITS = 8


def _wal_position(flushed: Any, wal_file: str | None) -> WalPosition | None:
    """Read the timeline from the name of the WAL file, which begins with it in hexadecimal digits."""
    return WalPosition(int(wal_file[:_TIMELINE_DIGITS], 16), flushed) if wal_file is not None else None


# Evaluated while the statement runs, so after its snapshot: the position includes what the rows show.
# The functions fail on a server in recovery, which has no position and gets null.
WAL_POSITION: Columns[WalPosition | None] = Columns(
    _wal_position,
    case((_IS_PRIMARY, _FLUSHED)).label("flushed"),
    case((_IS_PRIMARY, func.pg_walfile_name(_FLUSHED))).label("wal_file"),
)
