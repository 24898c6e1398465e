"""Making and revoking API keys."""

from datetime import datetime
from uuid import UUID

from service.db.repositories.keys import NewApiKey
from service.db.transaction import Tx
from service.domain.errors import FieldError, NotFound, ValidationFailed
from service.domain.events import Action, AuditContext
from service.domain.ids import new_id
from service.domain.keys import KEY_NAME_MAX, ApiKey, Scope
from service.domain.users import NAME_RULE, canonical_name
from service.security.tokens import API_KEY_PREFIX, Token, new_token

PREFIX_LENGTH = len(API_KEY_PREFIX) + 4
"""How much of a key is kept in the clear, for its owner to recognise it by."""


async def create_key(
    tx: Tx, *, name: str, scopes: tuple[Scope, ...], expires_at: datetime | None, context: AuditContext
) -> tuple[Token, ApiKey]:
    """Make an API key; the key itself is told here and never again.

    Raises:
        ValidationFailed: the name or the scopes break a rule, or the end lies in the past by the database's
            clock.
    """
    canonical = canonical_name(name)
    if canonical is None or len(canonical) > KEY_NAME_MAX:
        raise ValidationFailed(
            FieldError("/name", "invalid_value", f"1 to {KEY_NAME_MAX} characters, {NAME_RULE}")
        )
    if len(set(scopes)) != len(scopes):
        raise ValidationFailed(FieldError("/scopes", "invalid_value", "A scope is named twice."))
    token = new_token(API_KEY_PREFIX)
    key = await tx.keys.add(
        NewApiKey(new_id(), canonical, scopes, token.value[:PREFIX_LENGTH], token.digest, expires_at)
    )
    if key.expires_at is not None and key.expires_at <= key.created_at:
        raise ValidationFailed(FieldError("/expires_at", "invalid_value", "This must lie in the future."))
    await tx.events.add(context, Action.KEY_CREATED, key.id)
    return token, key


async def revoke_key(tx: Tx, key_id: UUID, *, context: AuditContext) -> None:
    """Revoke an API key for good.

    Raises:
        NotFound: there is no such key.
    """
    if not await tx.keys.revoke(key_id):
        raise NotFound
    await tx.events.add(context, Action.KEY_REVOKED, key_id)
