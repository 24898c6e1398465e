"""API keys in SQL."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Interval,
    LargeBinary,
    any_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)

from service.db.core.batch_loader import BatchLoader
from service.db.core.read_pool import ReadPool
from service.db.core.statements import ReadQuery, Statement
from service.db.core.wal_position import WAL_POSITION_COLUMNS, WAL_POSITION_WIDTH, wal_position_from
from service.db.repositories.base import ReadExecutor, Repository, page_of, require_row
from service.db.tables import ApiKeyRow
from service.domain.keys import ApiKey, Scope
from service.domain.pages import Keyset, Page

API_KEY_COLUMNS: tuple[Any, ...] = (
    ApiKeyRow.id,
    ApiKeyRow.name,
    ApiKeyRow.scopes,
    ApiKeyRow.created_at,
    ApiKeyRow.last_used_at,
    ApiKeyRow.expires_at,
    ApiKeyRow.prefix,
)
_SCOPES = {scope.value: scope for scope in Scope}


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key to be added."""

    id: UUID
    name: str
    scopes: tuple[Scope, ...]
    prefix: str
    token_digest: bytes
    expires_at: datetime | None


def api_key_from(values: Iterable[Any]) -> ApiKey:
    """Make the entity from the values of `API_KEY_COLUMNS`."""
    id_, name, scopes, created_at, last_used_at, expires_at, prefix = values
    return ApiKey(
        id_, name, tuple(_SCOPES[scope] for scope in scopes), created_at, last_used_at, expires_at, prefix
    )


def api_key_as_of_from(values: Sequence[Any]) -> ApiKey:
    """Make the entity from the values of `API_KEY_COLUMNS` and `WAL_POSITION_COLUMNS`."""
    return replace(
        api_key_from(values[:-WAL_POSITION_WIDTH]),
        wal_position=wal_position_from(values[-WAL_POSITION_WIDTH:]),
    )


_ADD = Statement(
    insert(ApiKeyRow).returning(*API_KEY_COLUMNS),
    "id", "name", "scopes", "prefix", "token_digest", "expires_at",
)  # fmt: skip
_REVOKE = Statement(delete(ApiKeyRow).where(ApiKeyRow.id == bindparam("key_id")))
_TOUCH = Statement(
    update(ApiKeyRow)
    .where(
        ApiKeyRow.id == func.any(bindparam("ids")),
        or_(
            ApiKeyRow.last_used_at.is_(None),
            ApiKeyRow.last_used_at < func.now() - bindparam("touch_interval", type_=Interval),
        ),
    )
    .values(last_used_at=func.now())
)
_LIVE_BY_DIGESTS = select(*API_KEY_COLUMNS).where(
    ApiKeyRow.token_digest == any_(bindparam("keys", type_=ARRAY(LargeBinary))),
    or_(ApiKeyRow.expires_at.is_(None), ApiKeyRow.expires_at > func.now()),
)
_ALL = select(*API_KEY_COLUMNS).order_by(ApiKeyRow.created_at, ApiKeyRow.id).limit(bindparam("row_limit"))
_ALL_CONTINUED = _ALL.where(
    tuple_(ApiKeyRow.created_at, ApiKeyRow.id)
    > tuple_(
        bindparam("after_at", type_=ApiKeyRow.created_at.type),
        bindparam("after_id", type_=ApiKeyRow.id.type),
    )
)


class ApiKeyRepository(Repository):
    """API keys inside a transaction."""

    async def add(self, key: NewApiKey) -> ApiKey:
        """Add a key."""
        row = await self._db.one(
            _ADD,
            {
                "id": key.id,
                "name": key.name,
                "scopes": [scope.value for scope in key.scopes],
                "prefix": key.prefix,
                "token_digest": key.token_digest,
                "expires_at": key.expires_at,
            },
        )
        return api_key_from(require_row(row))

    async def revoke(self, key_id: UUID) -> bool:
        """Revoke a key; False when there is none."""
        return await self._db.execute(_REVOKE, {"key_id": key_id}) == 1

    async def touch(self, key_ids: Iterable[UUID], *, interval: timedelta) -> int:
        """Note the use of keys, each at most once an interval."""
        return await self._db.execute(_TOUCH, {"ids": list(key_ids), "touch_interval": interval})


class ApiKeyReads:
    """API keys, read in one statement without a transaction."""

    _FIRST_PAGE = ReadQuery(_ALL)
    _NEXT_PAGE = ReadQuery(_ALL_CONTINUED)

    def __init__(self, read_pool: ReadExecutor) -> None:
        self._read_pool = read_pool

    async def list_page(self, *, after: Keyset | None, limit: int) -> Page[ApiKey]:
        """List the keys, oldest first."""
        values: dict[str, object] = {"row_limit": limit + 1}
        query = self._FIRST_PAGE
        if after is not None:
            values |= {"after_at": after.at, "after_id": after.id}
            query = self._NEXT_PAGE
        rows = await self._read_pool.fetch_all(query, **values)
        return page_of(
            [api_key_from(row) for row in rows],
            limit,
            lambda item: Keyset(item.id, at=item.created_at),
        )


class ApiKeyTokenReads(ApiKeyReads):
    """The same, and keys by their token: from the primary alone, as a revocation has to show at once."""

    _LIVE = ReadQuery(_LIVE_BY_DIGESTS.add_columns(ApiKeyRow.token_digest))
    _LIVE_AS_OF = ReadQuery(_LIVE_BY_DIGESTS.add_columns(*WAL_POSITION_COLUMNS, ApiKeyRow.token_digest))

    def __init__(self, read_pool: ReadPool, *, with_wal_position: bool) -> None:
        super().__init__(read_pool)
        query, self._entity_from = (
            (self._LIVE_AS_OF, api_key_as_of_from) if with_wal_position else (self._LIVE, api_key_from)
        )
        self._live: BatchLoader[bytes] = BatchLoader(read_pool, query)

    async def find_live(self, token_digest: bytes) -> ApiKey | None:
        """Find the key of a digest, unless it has expired."""
        values = await self._live.get(token_digest)
        return self._entity_from(values) if values is not None else None
