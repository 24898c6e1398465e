"""API keys."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    DateTime,
    Interval,
    LargeBinary,
    any_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from service.db.core.batch_loader import BatchLoader
from service.db.core.columns import Columns
from service.db.core.statements import Executor, Statement
from service.db.core.wal_position import WAL_POSITION
from service.db.repositories.base import ReadRepository, Repository, require_row
from service.db.repositories.listings import Listing, keyset_page
from service.db.tables import ApiKeyRow
from service.domain.keys import ApiKey, Scope
from service.domain.pages import Keyset, Page

_SCOPES = {scope.value: scope for scope in Scope}


def _api_key(id_: UUID, name: str, scopes: list[str], *others: Any) -> ApiKey:
    return ApiKey(id_, name, tuple(_SCOPES[scope] for scope in scopes if scope in _SCOPES), *others)


API_KEY = Columns(
    _api_key,
    ApiKeyRow.id,
    ApiKeyRow.name,
    ApiKeyRow.scopes,
    ApiKeyRow.created_at,
    ApiKeyRow.last_used_at,
    ApiKeyRow.expires_at,
    ApiKeyRow.prefix,
    ApiKeyRow.created_by,
)


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key to add."""

    id: UUID
    name: str
    scopes: tuple[Scope, ...]
    prefix: str
    token_digest: bytes
    expires_at: datetime | None
    created_by: UUID | None = None


_expires_at = func.coalesce(
    bindparam("ends_at", type_=DateTime(timezone=True)),
    func.now() + bindparam("default_ttl", type_=Interval),
)
_ADD = Statement(
    insert(ApiKeyRow).values(expires_at=_expires_at).returning(*API_KEY),
    "id", "name", "scopes", "prefix", "token_digest", "created_by",
)  # fmt: skip
_GET = Statement(select(*API_KEY).where(ApiKeyRow.id == bindparam("id")))
_REVOKE = Statement(delete(ApiKeyRow).where(ApiKeyRow.id == bindparam("key_id")).returning(*API_KEY))
_REVOKE_ALL = Statement(
    delete(ApiKeyRow).where(ApiKeyRow.created_by == bindparam("creator_id")).returning(ApiKeyRow.id)
)
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
_LISTING = Listing(API_KEY, select(*API_KEY), at=ApiKeyRow.created_at, id=ApiKeyRow.id)


def _by_digests(columns: Columns[ApiKey]) -> Statement:
    return Statement(
        select(ApiKeyRow.token_digest, *columns).where(
            ApiKeyRow.token_digest == any_(bindparam("keys", type_=ARRAY(LargeBinary))),
            or_(ApiKeyRow.expires_at.is_(None), ApiKeyRow.expires_at > func.now()),
        )
    )


class ApiKeyReads(ReadRepository):
    """Reads of API keys."""

    async def get(self, key_id: UUID) -> ApiKey | None:
        """Return a key, whether or not it has expired."""
        return API_KEY.decode_optional(await self._executor.fetch_one(_GET, id=key_id))

    async def list_page(self, *, after: Keyset | None, limit: int) -> Page[ApiKey]:
        """List the keys, oldest first."""
        return await keyset_page(self._executor, _LISTING, after=after, limit=limit)


class ApiKeyTokenReads(ApiKeyReads):
    """Also finds keys by token, on the primary only: a revocation takes effect at once."""

    def __init__(self, executor: Executor, *, with_wal_position: bool) -> None:
        super().__init__(executor)
        columns = API_KEY.extended(WAL_POSITION) if with_wal_position else API_KEY
        self._by_digest: BatchLoader[bytes, ApiKey] = BatchLoader(executor, _by_digests(columns), columns)

    async def find_live(self, token_digest: bytes) -> ApiKey | None:
        """Return the key of a digest unless it has expired."""
        return await self._by_digest.load(token_digest)


class ApiKeyRepository(ApiKeyReads, Repository):
    """API keys inside a transaction."""

    async def add(self, key: NewApiKey, *, default_ttl: timedelta | None) -> ApiKey:
        """Insert a key. Without an expiry it gets the default lifetime; without either, it never expires."""
        params = asdict(key) | {"scopes": [scope.value for scope in key.scopes], "default_ttl": default_ttl}
        params["ends_at"] = params.pop("expires_at")
        return API_KEY.decode(require_row(await self._tx.fetch_one(_ADD, **params)))

    async def revoke(self, key_id: UUID) -> ApiKey | None:
        """Delete a key and return it; None if there is none."""
        return API_KEY.decode_optional(await self._tx.fetch_one(_REVOKE, key_id=key_id))

    async def revoke_all(self, creator_id: UUID) -> list[UUID]:
        """Delete the keys that a user has created; return their ids."""
        return [row[0] for row in await self._tx.fetch_all(_REVOKE_ALL, creator_id=creator_id)]

    async def touch(self, key_ids: Iterable[UUID], *, interval: timedelta) -> int:
        """Record the use of keys, each at most once per interval; return the number recorded."""
        return await self._tx.execute(_TOUCH, ids=list(key_ids), touch_interval=interval)
