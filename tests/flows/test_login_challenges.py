"""Challenges of logins: what they offer, what answers them, and what ends them."""

from collections.abc import Awaitable, Callable

import httpx
import pytest
from rollcall_testkit.passkeys import SoftwarePasskey

from service.services import Services
from service.usecases.cleanup import purge_expired
from tests.flows.throttling import SETTINGS
from tests.support.api import OTHER_PASSWORD, PASSWORD, Api, error_of, running_with
from tests.support.databases import count_rows, execute
from tests.support.second_factors import INVALID, ada_with, answer, ask, enroll

running = running_with(SETTINGS)


async def test_challenge_offers_only_the_methods_that_the_user_has(api: Api) -> None:
    ada = await ada_with(api, totp=True, passkey=SoftwarePasskey(), recovery_codes=True)
    problem = await ask(api)
    assert problem["methods"] == ["totp", "passkey", "recovery_code"]
    assert ada.passkey is not None
    (credential,) = ada.passkey.credentials
    (allowed,) = problem["public_key"]["allowCredentials"]
    assert len(allowed["id"]) == len(credential.id) * 4 // 3 + 1
    bob = await enroll(api, await api.account("bob"), passkey=SoftwarePasskey())
    problem = await ask(api, "bob")
    assert problem["methods"] == ["passkey"]
    assert (await answer(api, problem["challenge"], passkey=bob.sign(problem["public_key"]))).is_success


async def test_challenge_is_served_once(api: Api) -> None:
    ada = await ada_with(api, totp=True, recovery_codes=True)
    challenge = (await ask(api))["challenge"]
    assert (await answer(api, challenge, totp=ada.code())).status_code == 201
    assert error_of(await answer(api, challenge, recovery_code=ada.recovery_codes[0])) == INVALID
    assert (await answer(api, (await ask(api))["challenge"], recovery_code=ada.recovery_codes[0])).is_success


async def test_passkey_response_is_good_for_its_own_challenge_only(api: Api) -> None:
    ada = await ada_with(api, passkey=SoftwarePasskey())
    first, second = await ask(api), await ask(api)
    signed = ada.sign(first["public_key"])
    assert error_of(await answer(api, second["challenge"], passkey=signed)) == INVALID
    assert (await answer(api, first["challenge"], passkey=signed)).status_code == 201


MEANWHILE = {
    "expired": "UPDATE login_challenges SET expires_at = now()",
    "disabled": "UPDATE users SET state = 'disabled'",
    "deleted": "DELETE FROM users",
    "factor removed": "DELETE FROM totp_secrets",
    "all factors removed": "UPDATE users SET factors = '{}'",
    "never confirmed": "UPDATE totp_secrets SET confirmed_at = NULL",
}


@pytest.mark.parametrize("what", MEANWHILE)
async def test_challenge_is_useless_after_a_change(api: Api, service: Services, what: str) -> None:
    ada = await ada_with(api, totp=True)
    challenge = (await ask(api))["challenge"]
    await execute(service.engine, MEANWHILE[what])
    assert error_of(await answer(api, challenge, totp=ada.code())) == INVALID


async def test_challenge_ends_with_the_sessions_of_its_user(api: Api, service: Services) -> None:
    """A password set, a disabled user, the end of all sessions: a login under way ends too."""
    admin, ada = api.by(await api.admin()), await ada_with(api, totp=True)
    path = f"/v1/users/{ada.account.id}"
    own = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
    changes: dict[str, Callable[[], Awaitable[httpx.Response]]] = {
        "end sessions": lambda: admin.delete(f"{path}/sessions"),
        "disable": lambda: admin.patch(path, {"state": "disabled"}),
        "set another address": lambda: admin.patch(path, {"email": "ada@example.org"}),
        "set a password": lambda: admin.put(
            f"{path}/password", {"new_password": PASSWORD, "must_change": False}
        ),
    }
    for what, change in changes.items():
        challenge = (await ask(api))["challenge"]
        assert (await change()).is_success, what
        await execute(service.engine, "UPDATE users SET state = 'active'")
        assert error_of(await answer(api, challenge, totp=ada.code())) == INVALID, what
    opened = await answer(api, (await ask(api))["challenge"], totp=ada.code())
    token, challenge = opened.json()["token"], (await ask(api))["challenge"]
    assert (await api.by(token).put("/v1/users/me/password", own)).status_code == 204
    assert error_of(await answer(api, challenge, recovery_code="x")) == INVALID
    assert await count_rows(service.engine, "login_challenges") == 0


async def test_expired_challenges_are_purged(api: Api, service: Services) -> None:
    await ada_with(api, totp=True, passkey=SoftwarePasskey())
    for _ in range(2):
        await ask(api)
        await api.post("/v1/passkey-challenges")
    for table in ("login_challenges", "passkey_challenges"):
        one = f"(SELECT ctid FROM {table} LIMIT 1)"
        await execute(service.engine, f"UPDATE {table} SET expires_at = now() WHERE ctid = {one}")
    await purge_expired(service.background_database, service.policies.retention)
    assert [
        await count_rows(service.engine, table) for table in ("login_challenges", "passkey_challenges")
    ] == [1, 1]
