"""Second factors of the accounts under test."""

import time
from base64 import b32decode
from typing import Any

import httpx
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.hotp import HOTP
from rollcall_testkit.passkeys import SoftwarePasskey

from service.security.totp import DIGITS, PERIOD_SECONDS
from service.services import Services
from tests.support.api import Api
from tests.support.databases import fetch_values
from tests.support.settings import ORIGIN

PASSKEYS = "/v1/users/me/passkeys"
TOTP = "/v1/users/me/totp"
RECOVERY_CODES = "/v1/users/me/recovery-codes"


def totp_code(secret: str, *, steps_ahead: int = 0) -> str:
    """Return the code that an app shows for a secret in base32."""
    step = int(time.time()) // PERIOD_SECONDS + steps_ahead
    key = b32decode(secret + "=" * (-len(secret) % 8))
    return HOTP(key, DIGITS, SHA1()).generate(step).decode()


def wrong_code(secret: str) -> str:
    """Return a code that is none of those that are accepted now."""
    near = {totp_code(secret, steps_ahead=steps) for steps in (-2, -1, 0, 1, 2)}
    return next(
        code for code in ("000000", "111111", "222222", "333333", "444444", "555555") if code not in near
    )


async def enroll_totp(api: Api) -> str:
    """Enrol an authenticator app for the caller; return its secret."""
    secret: str = (await api.post(TOTP)).json()["secret"]
    confirmed = await api.post(f"{TOTP}/confirm", {"code": totp_code(secret)})
    assert confirmed.status_code == 204, confirmed.text
    return secret


async def created_passkey(api: Api, authenticator: SoftwarePasskey, **fields: Any) -> dict[str, Any]:
    """Have an authenticator create a passkey for the caller; return the body that adds it."""
    options = (await api.post(f"{PASSKEYS}/options")).json()
    created = authenticator.create(options["public_key"], ORIGIN)
    return {"challenge_id": options["challenge_id"], "passkey": created, **fields}


async def add_passkey(
    api: Api, authenticator: SoftwarePasskey | None = None, **fields: Any
) -> httpx.Response:
    """Add a passkey to the caller's user."""
    return await api.post(PASSKEYS, await created_passkey(api, authenticator or SoftwarePasskey(), **fields))


async def require_factors_agree(service: Services) -> None:
    """Check that `users.factors` of every user is what the tables hold."""
    held = """
        SELECT id, factors, array_remove(ARRAY[
            CASE WHEN EXISTS (SELECT FROM totp_secrets t WHERE t.user_id = u.id AND confirmed_at IS NOT NULL)
                 THEN 'totp' END,
            CASE WHEN EXISTS (SELECT FROM passkeys p WHERE p.user_id = u.id) THEN 'passkey' END], NULL),
            (SELECT count(*) FROM recovery_codes r WHERE r.user_id = u.id)
        FROM users u
        """
    for id_, noted, found, codes in await fetch_values(service.engine, held):
        assert noted == found, id_
        assert found or not codes, id_
