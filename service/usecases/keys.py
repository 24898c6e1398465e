"""Making and revoking API keys."""

from datetime import datetime
from uuid import UUID

from service.db.repositories.keys import NewApiKey
from service.db.transaction import Tx
from service.domain.errors import NotFound
from service.domain.events import Action, Origin
from service.domain.ids import new_id
from service.domain.keys import ApiKey, Scope
from service.security.tokens import API_KEY_PREFIX, Token, new_token

PREFIX_LENGTH = len(API_KEY_PREFIX) + 4
"""How much of a key is kept in the clear, for its owner to recognise it by."""


async def create_key(
    tx: Tx, *, name: str, scopes: tuple[Scope, ...], expires_at: datetime | None, origin: Origin
) -> tuple[Token, ApiKey]:
    """Make an API key; the key itself is told here and never again."""
    token = new_token(API_KEY_PREFIX)
    key = await tx.keys.add(
        NewApiKey(new_id(), name, scopes, token.value[:PREFIX_LENGTH], token.digest, expires_at)
    )
    await tx.events.add(origin, Action.KEY_CREATED, key.id)
    return token, key


async def revoke_key(tx: Tx, key_id: UUID, *, origin: Origin) -> None:
    """Revoke an API key for good.

    Raises:
        NotFound: there is no such key.
    """
    if not await tx.keys.revoke(key_id):
        raise NotFound
    await tx.events.add(origin, Action.KEY_REVOKED, key_id)
