"""Accounts with second factors, and the answers of their owners."""

import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha1
from typing import Any
from uuid import UUID

import httpx
from rollcall_testkit.passkeys import SoftwarePasskey

from service.db.core.transaction import Transaction
from service.db.repositories.factors import FactorRepository
from service.db.repositories.passkeys import PasskeyRepository
from service.db.repositories.recovery_codes import RecoveryCodeRepository
from service.db.repositories.totp import TotpRepository
from service.domain.callers import OPERATOR
from service.security.ids import new_id
from service.security.recovery_codes import new_recovery_codes
from service.security.totp import PERIOD_SECONDS, new_totp_secret
from service.services import Services
from tests.support.api import Account, Api, error_of
from tests.support.settings import ORIGIN

INVALID = (401, "invalid_credentials")
"""What every failed login gets."""


@dataclass
class Factors:
    """The second factors of an account, as its owner holds them."""

    account: Account
    secret: bytes | None = None
    passkey: SoftwarePasskey | None = None
    passkey_id: UUID | None = None
    recovery_codes: list[str] = field(default_factory=list)

    def code(self, *, steps: int = 0) -> str:
        """Return the code of the app, some time steps from now."""
        assert self.secret is not None
        step = int(datetime.now(UTC).timestamp()) // PERIOD_SECONDS + steps
        digest = hmac.digest(self.secret, step.to_bytes(8, "big"), sha1)
        start = digest[-1] & 15
        return f"{(int.from_bytes(digest[start : start + 4], 'big') & 0x7FFFFFFF) % 10**6:06}"

    def wrong_code(self) -> str:
        """Return a code that the app shows at none of the accepted steps."""
        right = {self.code(steps=steps) for steps in range(-2, 4)}
        return next(code for number in range(10) if (code := f"{number:06}") not in right)

    def sign(self, public_key: dict[str, Any], origin: str = ORIGIN) -> dict[str, Any]:
        """Return the answer of the passkey."""
        assert self.passkey is not None
        return self.passkey.get(public_key, origin)


async def enroll(
    api: Api,
    account: Account,
    *,
    totp: bool = False,
    passkey: SoftwarePasskey | None = None,
    recovery_codes: bool = False,
) -> Factors:
    """Give an account factors, directly in the database."""
    service, factors = api.service, Factors(account)
    async with service.database.transaction(caller=OPERATOR) as tx:
        if totp:
            factors.secret = await _add_totp(tx, service, account)
        if passkey is not None:
            factors.passkey, factors.passkey_id = passkey, new_id()
            await _add_passkey(tx, service, factors)
        if recovery_codes:
            codes = new_recovery_codes(account.id)
            await RecoveryCodeRepository(tx).replace_all(account.id, [code.digest for code in codes])
            factors.recovery_codes = [code.value for code in codes]
        await FactorRepository(tx).refresh(account.id)
    return factors


async def ada_with(api: Api, **factors: Any) -> Factors:
    """Create the account `ada` with factors."""
    return await enroll(api, await api.account("ada"), **factors)


async def _add_totp(tx: Transaction, service: Services, account: Account) -> bytes:
    assert service.totp_secrets is not None
    secret, secret_id = new_totp_secret(), new_id()
    encrypted = service.totp_secrets.encrypt(secret_id, secret)
    await TotpRepository(tx).put_pending(secret_id, account.id, encrypted)
    await TotpRepository(tx).confirm_pending(account.id, step=0)
    return secret


async def _add_passkey(tx: Transaction, service: Services, factors: Factors) -> None:
    party, account = service.relying_party, factors.account
    assert party is not None
    assert factors.passkey is not None
    assert factors.passkey_id is not None
    challenge = bytes(32)
    options = party.registration_options(account.id, account.login_id, "Ada", challenge)
    new = party.verify_registration(factors.passkey.create(options, ORIGIN), challenge)
    await PasskeyRepository(tx).add(factors.passkey_id, account.id, "Passkey", new)


async def ask(api: Api, login_id: str = "ada", **more: Any) -> dict[str, Any]:
    """Log in with the right password; return the problem that asks for a second factor."""
    refused = await api.log_in(login_id, **more)
    assert error_of(refused) == (403, "second_factor_required")
    problem: dict[str, Any] = refused.json()
    return problem


async def answer(api: Api, challenge: str, **more: Any) -> httpx.Response:
    """Answer a challenge."""
    return await api.post("/v1/sessions", {"challenge": challenge, **more})


async def passkey_challenge(api: Api) -> tuple[str, dict[str, Any]]:
    """Return a challenge that any passkey may answer, and what the browser needs."""
    made = await api.post("/v1/passkey-challenges")
    assert made.status_code == 201, made.text
    return made.json()["challenge_id"], made.json()["public_key"]


async def log_in_by_passkey(api: Api, factors: Factors, **more: Any) -> httpx.Response:
    """Log in by the passkey alone."""
    challenge_id, public_key = await passkey_challenge(api)
    body = {"challenge_id": challenge_id, "passkey": factors.sign(public_key), **more}
    return await api.post("/v1/sessions", body)
