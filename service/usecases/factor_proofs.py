"""Proofs of a factor: verified outside transactions, spent inside the one that they open."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Optional, Protocol
from uuid import UUID

import structlog

from service.db.core.error_classes import describe
from service.db.core.transaction import Transaction
from service.db.repositories.events import EventRepository
from service.db.repositories.second_factors import SecondFactorReads, SecondFactorRepository
from service.domain.events import Action, AuditContext
from service.domain.factors import Amr, Factor, LoginChallenge, Method, Passkey, passkey_amr
from service.domain.mail import MailKind
from service.domain.users import User
from service.security.recovery_codes import digest_of_recovery_code
from service.security.webauthn import PasskeyLogin, PasskeyRejected, RelyingParty, credential_of
from service.usecases.notices import notify

if TYPE_CHECKING:  # imports cryptography, which few starts need (ADR 19)
    from service.usecases.totp_secrets import TotpSecrets

_BY_CODE: Final = (Amr.ONE_TIME_CODE,)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FactorResponse:
    """A factor as it was sent: one of the three."""

    totp: str | None = None
    recovery_code: str | None = None
    passkey: Mapping[str, Any] | None = field(default=None, hash=False)


class Proof(Protocol):
    """A factor that was verified, and is used up with the session that it opens."""

    @property
    def amr(self) -> tuple[Amr, ...]:
        """How its use authenticates a user."""
        ...

    async def spend(self, tx: Transaction, user: User, context: AuditContext, /) -> bool:
        """Use it up; return False if it is no longer what was verified. The user has to be locked."""
        ...


@dataclass(frozen=True, slots=True)
class TotpProof:
    """A code of an authenticator app, by its time step."""

    secret_id: UUID
    step: int
    amr: tuple[Amr, ...] = _BY_CODE

    async def spend(self, tx: Transaction, user: User, _context: AuditContext, /) -> bool:
        """Use up the time step, on every replica at once. Source: RFC 6238 5.2."""
        return await SecondFactorRepository(tx).accept_step(self.secret_id, user.id, self.step)


@dataclass(frozen=True, slots=True)
class RecoveryCodeProof:
    """The digest of what may be a recovery code: only `spend` finds out."""

    digest: bytes
    amr: tuple[Amr, ...] = _BY_CODE

    async def spend(self, tx: Transaction, user: User, context: AuditContext, /) -> bool:
        """Delete the code and notify the owner. Source: OWASP ASVS 5.0 6.5.1, 6.3.7."""
        codes = SecondFactorRepository(tx)
        if not await codes.use_recovery_code(user.id, self.digest):
            return False
        left = await codes.count_recovery_codes(user.id)
        await EventRepository(tx).add(context, Action.RECOVERY_CODE_USED, user.id)
        await notify(tx, user, MailKind.RECOVERY_CODE_USED, left=str(left))
        return True


@dataclass(frozen=True, slots=True)
class PasskeyProof:
    """The signature of a passkey under a challenge that has been used up."""

    passkey: Passkey
    login: PasskeyLogin

    @property
    def amr(self) -> tuple[Amr, ...]:
        """The key, and that its holder was verified."""
        return passkey_amr(is_backup_eligible=self.passkey.is_backup_eligible)

    async def spend(self, tx: Transaction, user: User, context: AuditContext, /) -> bool:
        """Record the use, and in the audit trail a counter that went back, as those of synced passkeys may.

        Source: WebAuthn Level 3 6.1.1, 7.2.
        """
        is_there = await SecondFactorRepository(tx).use_passkey(
            self.passkey.id, sign_count=self.login.sign_count, is_backed_up=self.login.is_backed_up
        )
        if is_there and self.login.sign_count_went_back:
            await EventRepository(tx).add(context, Action.PASSKEY_COUNTER_REGRESSED, user.id)
        return is_there


class FactorVerifier:
    """Verifies factors. Without `totp_secrets` or `relying_party`, that kind is not offered and not valid."""

    def __init__(
        self,
        reads: SecondFactorReads,
        totp_secrets: Optional["TotpSecrets"] = None,
        relying_party: RelyingParty | None = None,
    ) -> None:
        self._reads = reads
        self.totp_secrets = totp_secrets
        self.relying_party = relying_party

    async def challenge_of(self, tx: Transaction, user: User, token: str) -> LoginChallenge:
        """Return the challenge for the client of a login: the token, and how this user can answer it."""
        factors, public_key = SecondFactorRepository(tx), None
        methods = [Method.TOTP] if self.totp_secrets is not None and Factor.TOTP in user.factors else []
        if self.relying_party is not None and (passkeys := await factors.list_all(user.id)):
            public_key = self.relying_party.login_options(passkey_challenge_of(token), passkeys)
            methods.append(Method.PASSKEY)
        if await factors.count_recovery_codes(user.id) > 0:
            methods.append(Method.RECOVERY_CODE)
        return LoginChallenge(token, tuple(methods), public_key)

    async def verify(self, user_id: UUID, answer: FactorResponse, passkey_challenge: bytes) -> Proof | None:
        """Return the proof in a user's answer, or None if it is wrong."""
        if answer.totp is not None:
            return await self._verify_totp(user_id, answer.totp)
        if answer.recovery_code is not None:
            digest = digest_of_recovery_code(user_id, answer.recovery_code)
            return RecoveryCodeProof(digest) if digest is not None else None
        if answer.passkey is None or (claimed := claimed_credential(answer.passkey)) is None:
            return None
        credential_id, user_handle = claimed
        passkey = await self._reads.get_passkey(credential_id)
        # A user handle is optional here: the challenge has told who it is (WebAuthn Level 3 7.2).
        if passkey is None or passkey.user_id != user_id or user_handle not in (None, user_id.bytes):
            return None
        return self.verify_passkey(passkey, answer.passkey, passkey_challenge)

    def verify_passkey(
        self, passkey: Passkey, response: Mapping[str, Any], challenge: bytes
    ) -> PasskeyProof | None:
        """Return the proof in the response of a passkey to a challenge, or None."""
        if self.relying_party is None:
            return None
        try:
            login = self.relying_party.verify_login(
                response, challenge, passkey.public_key, passkey.sign_count
            )
        except PasskeyRejected as error:
            _log.info("passkey_rejected", **describe(error.__cause__ or error))
            return None
        return PasskeyProof(passkey, login)

    async def _verify_totp(self, user_id: UUID, code: str) -> TotpProof | None:
        if self.totp_secrets is None or (stored := await self._reads.get_totp(user_id)) is None:
            return None
        step = self.totp_secrets.matching_step(stored, code)
        return TotpProof(stored.id, step) if step is not None else None


def claimed_credential(response: Mapping[str, Any]) -> tuple[bytes, bytes | None] | None:
    """Return the credential id and the user handle that a response claims, or None if it is malformed."""
    try:
        return credential_of(response)
    except PasskeyRejected:
        return None


def passkey_challenge_of(token: str) -> bytes:
    """Return the challenge for passkeys of a login: as unique as its token, and not in the database."""
    return sha256(b"rollcall passkey\0" + token.encode("ascii")).digest()
