"""Counts by network in the current minute and hour: of failures, and of what else is limited."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Integer,
    Interval,
    Select,
    Text,
    bindparam,
    case,
    column,
    func,
    literal,
    literal_column,
    select,
    type_coerce,
    values,
)
from sqlalchemy.dialects.postgresql import INTERVAL, Insert, insert

from service.db.core.statements import Statement
from service.db.repositories.base import Repository, value_of
from service.db.tables import NetworkBucketRow
from service.domain.networks import Network
from service.domain.throttle import ThrottlePolicy

_MINUTE = literal(timedelta(minutes=1), Interval)
HOUR = literal(timedelta(hours=1), Interval)
ONE_ROW: Final = select(literal_column("1")).subquery("one_row")
_Count = NetworkBucketRow


def counted_in(window: ColumnElement[timedelta], count: Any, started_at: Any) -> dict[str, Any]:
    """Return the new values of a count and of its start: it begins again once its window is over."""
    is_over = started_at <= func.now() - window
    return {
        count.key: case((is_over, 1), else_=count + 1),
        started_at.key: case((is_over, func.now()), else_=started_at),
    }


_MOST_LEVELS: Final = 3
_levels = (
    values(column("network", Text), column("share", Integer), column("place", Integer), name="level")
).data(
    [
        (
            bindparam(f"network_{place}", type_=Text),
            bindparam(f"share_{place}", type_=Integer),
            literal_column(str(place)),
        )
        for place in range(_MOST_LEVELS)
    ]
)
"""The networks of the parameters, null where there are fewer. Not an array: PostgreSQL takes one of unknown
length for ten rows, so the generic plan looks expensive, and each execution would be planned again."""
_LEVEL_KEYS: Final = tuple((f"network_{place}", f"share_{place}") for place in range(_MOST_LEVELS))
_NO_LEVELS: Final = ((None, None),) * _MOST_LEVELS
_per_minute = _levels.c.share * bindparam("per_minute", type_=Integer)
_per_hour = _levels.c.share * bindparam("per_hour", type_=Integer)
_released_at = func.greatest(
    case((_Count.minute_failures >= _per_minute, _Count.minute_started_at + _MINUTE)),
    case((_Count.hour_failures >= _per_hour, _Count.hour_started_at + HOUR)),
)
# The limit keeps it from becoming a join, whose plan, made while the table is empty, would read all of it.
_of_level = (
    select(_released_at.label("released_at"))
    .where(_Count.network == _levels.c.network, _released_at > func.now())
    .limit(literal_column("1"))
    .correlate(_levels)
    .lateral("of_level")
)


def network_wait() -> Select[*tuple[Any, ...]]:
    """Select the longest `wait` of `networks`, null if none is at a limit."""
    wait = type_coerce(func.max(_of_level.c.released_at) - func.now(), INTERVAL).label("wait")
    return select(wait).select_from(_levels.join(_of_level, literal_column("true")))


def limits_of(networks: Sequence[Network], policy: ThrottlePolicy) -> dict[str, Any]:
    """Return the parameters of `network_wait` for failed logins; no networks, no limit."""
    return _limits(networks, policy.network_per_minute, policy.network_per_hour)


def _limits(networks: Sequence[Network], per_minute: int, per_hour: int) -> dict[str, Any]:
    return {**levels_of(networks), "per_minute": per_minute, "per_hour": per_hour}


def levels_of(networks: Sequence[Network]) -> dict[str, Any]:
    """Return the parameters of `count_networks`.

    Raises:
        ValueError: there are more networks than levels.
    """
    padded = (*networks, *_NO_LEVELS[len(networks) :])
    levels: dict[str, Any] = {}
    for (name_key, share_key), (name, share) in zip(_LEVEL_KEYS, padded, strict=True):
        levels[name_key], levels[share_key] = name, share
    return levels


def count_networks(*conditions: Any) -> Insert:
    """Count one for each of `networks` if the conditions hold. Locks: the narrowest network first."""
    once: tuple[Any, ...] = (_levels.c.network, literal_column("1"), literal_column("1"))
    counted = select(*once).where(_levels.c.network.is_not(None), *conditions).order_by(_levels.c.place)
    upsert = insert(_Count).from_select(["network", "minute_failures", "hour_failures"], counted)
    return upsert.on_conflict_do_update(
        index_elements=[_Count.network],
        set_=counted_in(_MINUTE, _Count.minute_failures, _Count.minute_started_at)
        | counted_in(HOUR, _Count.hour_failures, _Count.hour_started_at),
    )


_NETWORK_WAIT = Statement(network_wait())


def _count_within_limits() -> Statement:
    waiting = network_wait().cte("waiting")
    wait = select(waiting.c.wait).scalar_subquery()
    counted = count_networks(wait.is_(None)).returning(_Count.network, _Count.hour_failures).cte("counted")
    return Statement(select(wait, *counted.c).select_from(ONE_ROW.outerjoin(counted, literal_column("true"))))


_COUNT_WITHIN_LIMITS = _count_within_limits()


class NetworkCountRepository(Repository):
    """Counts of networks inside a transaction."""

    async def failure_wait(self, networks: Sequence[Network], policy: ThrottlePolicy) -> timedelta | None:
        """Return for how long failed logins keep the networks waiting, or None."""
        return await self._wait(limits_of(networks, policy))

    async def count(self, kind: str, networks: Sequence[Network], most_per_hour: int) -> timedelta | None:
        """Count what is limited by the hour, or return the wait if a network has had its number.

        Locks: the networks' counts, until the transaction ends.
        """
        named = [network._replace(name=f"{kind} {network.name}") for network in networks]
        limits = _limits(named, most_per_hour, most_per_hour)
        rows = await self._tx.fetch_all(_COUNT_WITHIN_LIMITS, **limits)
        wait: timedelta | None = rows[0][0]
        if wait is not None:
            return wait
        shares = dict(named)
        is_within = all(count <= most_per_hour * shares[network] for _, network, count in rows)
        return None if is_within else await self._wait(limits)

    async def _wait(self, limits: dict[str, Any]) -> timedelta | None:
        return value_of(await self._tx.fetch_one(_NETWORK_WAIT, **limits))
