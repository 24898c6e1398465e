"""Recovery codes: making them."""

import re

from service.security.recovery_codes import digest_of_recovery_code
from service.services import Services
from tests.support.api import Api, error_of, faults_of
from tests.support.databases import execute, fetch_values
from tests.support.factors import PASSKEYS, RECOVERY_CODES, TOTP, add_passkey, enroll_totp

STORED = "SELECT code_digest FROM recovery_codes"


async def test_create_recovery_codes_shows_ten_and_stores_their_digests(api: Api, service: Services) -> None:
    """Source: OWASP ASVS 5.0 6.5.2."""
    account = await api.account()
    ada = api.by(account)
    await enroll_totp(ada)
    made = await ada.post(RECOVERY_CODES)
    codes = made.json()["codes"]
    assert (made.status_code, len(set(codes))) == (201, 10)
    assert all(re.fullmatch(r"([0-9a-z]{6}-){3}[0-9a-z]{6}", code) for code in codes)
    stored = {row[0] for row in await fetch_values(service.engine, STORED)}
    assert stored == {digest_of_recovery_code(account.id, code) for code in codes}


async def test_create_recovery_codes_again_replaces_those_before(api: Api, service: Services) -> None:
    ada = api.by(await api.account())
    await add_passkey(ada)
    await ada.post(RECOVERY_CODES)
    before = {row[0] for row in await fetch_values(service.engine, STORED)}
    await ada.post(RECOVERY_CODES)
    after = {row[0] for row in await fetch_values(service.engine, STORED)}
    assert (len(before), len(after), before & after) == (10, 10, set())


async def test_create_recovery_codes_without_a_factor_is_rejected(api: Api, service: Services) -> None:
    ada = api.by(await api.account())
    await ada.post(TOTP)
    assert faults_of(await ada.post(RECOVERY_CODES)) == [("", "no_factor")]
    assert await fetch_values(service.engine, STORED) == []


async def test_remove_the_last_factor_removes_the_recovery_codes(api: Api, service: Services) -> None:
    ada = api.by(await api.account())
    await enroll_totp(ada)
    passkey = (await add_passkey(ada)).json()
    await ada.post(RECOVERY_CODES)
    assert (await ada.delete(TOTP)).status_code == 204
    assert len(await fetch_values(service.engine, STORED)) == 10
    assert (await ada.delete(f"{PASSKEYS}/{passkey['id']}")).status_code == 204
    assert await fetch_values(service.engine, STORED) == []


async def test_create_recovery_codes_with_an_old_login_gets_403(api: Api, service: Services) -> None:
    ada = api.by(await api.account())
    await enroll_totp(ada)
    aged = "UPDATE sessions SET authenticated_at = authenticated_at - interval '10 minutes'"
    await execute(service.engine, aged)
    assert error_of(await ada.post(RECOVERY_CODES)) == (403, "reauthentication_required")
