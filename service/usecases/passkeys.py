"""Passkeys: adding one, its name, and removing it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from service.db.core.transaction import Transaction
from service.db.repositories.events import EventRepository
from service.db.repositories.passkey_challenges import PasskeyChallengeRepository
from service.db.repositories.passkeys import PasskeyRepository
from service.domain.errors import FieldError, NotFound, PreconditionFailed, ValidationFailed
from service.domain.events import Action, AuditContext
from service.domain.factors import (
    CHALLENGE_TTL,
    PASSKEY_NAME_MAX,
    PASSKEYS_PER_USER,
    Factor,
    Passkey,
    PasskeyChallenge,
    passkey_amr,
)
from service.domain.users import require_name
from service.security.ids import new_id
from service.security.webauthn import NewPasskey, PasskeyRejected, new_challenge
from service.usecases.factors import FactorParts, complete_enrollment, complete_removal, lock_owner

Precondition = Callable[[Passkey], bool]
"""Whether the passkey is still the version that the caller has seen."""

DEFAULT_NAME: Final = "Passkey"
_UNKNOWN_CHALLENGE: Final = FieldError(
    "/challenge_id", "invalid_value", "This challenge is unknown, expired or used."
)
_REJECTED: Final = FieldError("/passkey", "invalid_value", "This is no valid response to the challenge.")
_ENROLLED: Final = FieldError("/passkey", "already_enrolled", "This passkey is enrolled already.")
_TOO_MANY: Final = FieldError("", "too_many", f"A user can have {PASSKEYS_PER_USER} passkeys.")


@dataclass(frozen=True, slots=True)
class VerifiedPasskey:
    """A passkey that its authenticator has shown, with its name."""

    name: str
    new: NewPasskey


async def begin_passkey(parts: FactorParts, *, context: AuditContext) -> PasskeyChallenge:
    """Return the options for a new passkey of the caller; those before no longer count.

    Raises:
        NotFound: passkeys are not enabled.
        ValidationFailed: the user has as many as it may have.
        ReauthenticationRequired: see `lock_owner`.
    """
    party = parts.relying_party
    if party is None:
        raise NotFound
    challenge_id, challenge = new_id(), new_challenge()

    async def begin(tx: Transaction) -> dict[str, Any]:
        user, _ = await lock_owner(tx, context=context)
        passkeys = await PasskeyRepository(tx).list_all(user.id)
        if len(passkeys) >= PASSKEYS_PER_USER:
            raise ValidationFailed(_TOO_MANY)
        challenges = PasskeyChallengeRepository(tx)
        await challenges.delete_all(user.id)
        await challenges.add(challenge_id, user.id, challenge=challenge, ttl=CHALLENGE_TTL)
        return party.registration_options(user.id, user.login_id, user.name, challenge, passkeys)

    return PasskeyChallenge(challenge_id, await parts.database.run(begin, caller=context.caller))


async def verify_passkey(
    parts: FactorParts, challenge_id: UUID, response: Mapping[str, Any], name: str, *, context: AuditContext
) -> VerifiedPasskey:
    """Return the passkey in a response to a challenge of the caller, which it uses up.

    Raises:
        NotFound: passkeys are not enabled.
        ValidationFailed: the name breaks a rule, the challenge is not the caller's or not live, or the
            response is not valid.
    """
    party, user_id = parts.relying_party, context.caller.user_id
    if party is None or user_id is None:
        raise NotFound
    name = require_name(name, PASSKEY_NAME_MAX)
    challenge = await parts.database.run(
        lambda tx: PasskeyChallengeRepository(tx).take(challenge_id, user_id), caller=context.caller
    )
    if challenge is None:
        raise ValidationFailed(_UNKNOWN_CHALLENGE)
    try:
        return VerifiedPasskey(name, party.verify_registration(response, challenge))
    except PasskeyRejected:
        raise ValidationFailed(_REJECTED) from None


async def add_passkey(tx: Transaction, verified: VerifiedPasskey, *, context: AuditContext) -> Passkey:
    """Add a passkey to the caller's user.

    Locks: the user, then its sessions.

    Raises:
        ValidationFailed: it is enrolled already, or the user has as many as it may have.
        ReauthenticationRequired: see `lock_owner`.
    """
    owner = await lock_owner(tx, context=context)
    passkeys = PasskeyRepository(tx)
    if len(await passkeys.list_all(owner.user.id)) >= PASSKEYS_PER_USER:
        raise ValidationFailed(_TOO_MANY)
    passkey = await passkeys.add(new_id(), owner.user.id, verified.name, verified.new)
    if passkey is None:
        raise ValidationFailed(_ENROLLED)
    amr = passkey_amr(is_backup_eligible=passkey.is_backup_eligible)
    await complete_enrollment(tx, owner, Factor.PASSKEY, amr, context=context)
    return passkey


async def rename_passkey(
    tx: Transaction, passkey_id: UUID, name: str, *, context: AuditContext, precondition: Precondition
) -> Passkey:
    """Change the name of a passkey of the caller.

    Raises:
        ValidationFailed: the name breaks a rule.
        NotFound: the caller has no such passkey.
        PreconditionFailed: it has changed.
        ReauthenticationRequired: see `lock_owner`.
    """
    name = require_name(name, PASSKEY_NAME_MAX)
    passkey = await _lock_own(tx, passkey_id, context=context, precondition=precondition)
    renamed = await PasskeyRepository(tx).rename(passkey_id, name, user_id=passkey.user_id)
    await EventRepository(tx).add(context, Action.PASSKEY_RENAMED, passkey.user_id)
    return renamed


async def remove_passkey(
    tx: Transaction, passkey_id: UUID, *, context: AuditContext, precondition: Precondition
) -> None:
    """Remove a passkey of the caller.

    Raises:
        NotFound: the caller has no such passkey.
        PreconditionFailed: it has changed.
        ReauthenticationRequired: see `lock_owner`.
    """
    passkey = await _lock_own(tx, passkey_id, context=context, precondition=precondition)
    await PasskeyRepository(tx).delete(passkey_id, user_id=passkey.user_id)
    await complete_removal(tx, passkey.user_id, Factor.PASSKEY, context=context)


async def _lock_own(
    tx: Transaction, passkey_id: UUID, *, context: AuditContext, precondition: Precondition
) -> Passkey:
    user, _ = await lock_owner(tx, context=context)
    passkey = await PasskeyRepository(tx).get(passkey_id, user_id=user.id)
    if passkey is None:
        raise NotFound
    if not precondition(passkey):
        raise PreconditionFailed
    return passkey
