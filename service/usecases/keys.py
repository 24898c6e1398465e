"""Creating and revoking API keys."""

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from service.db.core.transaction import Transaction
from service.db.repositories.events import EventRepository
from service.db.repositories.keys import ApiKeyRepository, NewApiKey
from service.db.repositories.users import UserRepository
from service.domain.callers import CallerKind
from service.domain.errors import FieldError, InvalidToken, NotFound, PreconditionFailed, ValidationFailed
from service.domain.events import Action, AuditContext
from service.domain.keys import KEY_NAME_MAX, ApiKey, Scope
from service.domain.users import require_name
from service.security.ids import new_id
from service.security.tokens import API_KEY_PREFIX, Token, new_token
from service.usecases.policies import Policies

PREFIX_LENGTH = len(API_KEY_PREFIX) + 4
"""Characters of a key that are stored, for its owner to recognise it."""


async def create_key(
    tx: Transaction,
    *,
    name: str,
    scopes: tuple[Scope, ...],
    expires_at: datetime | None,
    context: AuditContext,
    policies: Policies,
) -> tuple[Token, ApiKey]:
    """Create an API key and return it with its token, which cannot be read again.

    It is revoked with the administrator who creates it. The command line creates keys without an owner, by
    default without an expiry.

    Locks: the administrator, so that a key is created before the administrator's are revoked, or not at all.

    Raises:
        InvalidToken: the caller is no active administrator any more.
        ValidationFailed: the name or the scopes break a rule, or the expiry is in the past or too far ahead
            by the database's clock.
    """
    creator_id = context.caller.user_id
    if creator_id is not None:
        await _require_admin(tx, creator_id)
    name = require_name(name, KEY_NAME_MAX)
    if len(set(scopes)) != len(scopes):
        raise ValidationFailed(FieldError("/scopes", "invalid_value", "A scope is named twice."))
    max_ttl = policies.key_ttl if context.caller.kind is not CallerKind.OPERATOR else None
    token = new_token(API_KEY_PREFIX)
    key = await ApiKeyRepository(tx).add(
        NewApiKey(new_id(), name, scopes, token.value[:PREFIX_LENGTH], token.digest, expires_at, creator_id),
        default_ttl=max_ttl,
    )
    _check_expiry(key, max_ttl)
    await EventRepository(tx).add(context, Action.KEY_CREATED, key.id)
    return token, key


async def _require_admin(tx: Transaction, user_id: UUID) -> None:
    user = await UserRepository(tx).get_for_update(user_id)
    if user is None or not user.is_active_admin:
        raise InvalidToken


def _check_expiry(key: ApiKey, max_ttl: timedelta | None) -> None:
    if key.expires_at is None:
        return
    if key.expires_at <= key.created_at:
        raise ValidationFailed(FieldError("/expires_at", "invalid_value", "This must lie in the future."))
    if max_ttl is not None and key.expires_at > key.created_at + max_ttl:
        rule = f"This must be at most {max_ttl.days} days ahead."
        raise ValidationFailed(FieldError("/expires_at", "invalid_value", rule))


async def revoke_keys_of(tx: Transaction, creator_id: UUID, *, context: AuditContext) -> None:
    """Revoke every API key that a user has created."""
    for key_id in await ApiKeyRepository(tx).revoke_all(creator_id):
        await EventRepository(tx).add(context, Action.KEY_REVOKED, key_id)


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
