"""Creating and revoking API keys."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from service.db.core.transaction import Transaction
from service.db.repositories.events import EventRepository
from service.db.repositories.keys import ApiKeyRepository, NewApiKey
from service.domain.errors import FieldError, NotFound, PreconditionFailed, ValidationFailed
from service.domain.events import Action, AuditContext
from service.domain.keys import KEY_NAME_MAX, ApiKey, Scope
from service.domain.users import NAME_RULE, canonical_name
from service.security.ids import new_id
from service.security.tokens import API_KEY_PREFIX, Token, new_token

PREFIX_LENGTH = len(API_KEY_PREFIX) + 4
"""Characters of a key that are stored, for its owner to recognise it."""


async def create_key(
    tx: Transaction,
    *,
    name: str,
    scopes: tuple[Scope, ...],
    expires_at: datetime | None,
    context: AuditContext,
) -> tuple[Token, ApiKey]:
    """Create an API key and return it with its token, which cannot be read again.

    Raises:
        ValidationFailed: the name or the scopes break a rule, or the expiry is in the past by the database's
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
    key = await ApiKeyRepository(tx).add(
        NewApiKey(new_id(), canonical, scopes, token.value[:PREFIX_LENGTH], token.digest, expires_at)
    )
    if key.expires_at is not None and key.expires_at <= key.created_at:
        raise ValidationFailed(FieldError("/expires_at", "invalid_value", "This must lie in the future."))
    await EventRepository(tx).add(context, Action.KEY_CREATED, key.id)
    return token, key


async def revoke_key(
    tx: Transaction, key_id: UUID, *, context: AuditContext, precondition: Callable[[ApiKey], bool]
) -> None:
    """Revoke an API key.

    Raises:
        NotFound: there is no such key.
        PreconditionFailed: it is not the version that the caller expects.
    """
    key = await ApiKeyRepository(tx).revoke(key_id)
    if key is None:
        raise NotFound
    if not precondition(key):
        raise PreconditionFailed
    await EventRepository(tx).add(context, Action.KEY_REVOKED, key_id)
