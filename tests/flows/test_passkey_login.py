"""Logging in by a passkey alone, and showing a factor again in a session."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from rollcall_testkit.passkeys import SoftwarePasskey

from service.domain.users import UserRole
from service.services import Services
from settings.factors import FactorSettings
from settings.throttle import ThrottleSettings
from tests.flows.conftest import At
from tests.flows.recovering import account_with_address
from tests.flows.throttling import ABROAD, HOME, SETTINGS, WRONG, assert_throttled
from tests.support.api import Account, Api, error_of, faults_of, running_with, serving
from tests.support.databases import execute, fetch_values
from tests.support.mail import sent_mails
from tests.support.second_factors import INVALID, Factors, enroll, log_in_by_passkey, passkey_challenge
from tests.support.settings import settings_for_tests

STEP_UP = "/v1/sessions/current/step-up"

running = running_with(SETTINGS)


@pytest_asyncio.fixture
async def ada(api: Api) -> AsyncIterator[Factors]:
    """Ada, who has a passkey and an authenticator app."""
    yield await enroll(api, await account_with_address(api), totp=True, passkey=SoftwarePasskey())


async def test_log_in_by_passkey_opens_a_session_of_two_factors(api: Api, ada: Factors) -> None:
    opened = await log_in_by_passkey(api, ada)
    assert opened.status_code == 201
    assert opened.json()["user"]["id"] == str(ada.account.id)
    assert opened.json()["session"]["amr"] == ["hwk", "user", "mfa"]
    assert opened.json()["session"]["assurance"] == 2
    passkeys = "SELECT sign_count, last_used_at IS NULL FROM passkeys"
    assert await fetch_values(api.service.engine, passkeys) == [(1, False)]
    assert await fetch_values(api.service.engine, "SELECT last_login_at IS NULL FROM users") == [(False,)]


async def test_log_in_by_synced_passkey_is_a_software_key(api: Api) -> None:
    synced = await enroll(api, await api.account("bob"), passkey=SoftwarePasskey(is_synced=True))
    for _ in range(2):  # its counter stays at 0
        opened = await log_in_by_passkey(api, synced)
        assert opened.json()["session"]["amr"] == ["swk", "user", "mfa"]
    actions = await fetch_values(api.service.engine, "SELECT DISTINCT action FROM events")
    assert actions == [("login.succeeded",)]


async def test_log_in_by_passkey_from_a_new_device_tells_the_owner(
    api: Api, service: Services, ada: Factors
) -> None:
    device_token = (await log_in_by_passkey(api, ada)).json()["device_token"]
    again = await log_in_by_passkey(api, ada, device_token=device_token)
    assert again.json()["device_token"] == device_token
    assert await sent_mails(service) == []
    await log_in_by_passkey(api, ada)
    assert [mail.kind for mail in await sent_mails(service)] == ["new_device"]


async def test_challenge_for_a_passkey_is_good_for_one_try(api: Api, ada: Factors) -> None:
    challenge_id, public_key = await passkey_challenge(api)
    body = {"challenge_id": challenge_id, "passkey": ada.sign(public_key)}
    altered = {**body, "passkey": ada.sign({**public_key, "challenge": "A" * 43})}
    assert error_of(await api.post("/v1/sessions", altered)) == INVALID
    assert error_of(await api.post("/v1/sessions", body)) == INVALID
    assert (await log_in_by_passkey(api, ada)).status_code == 201


@pytest.mark.parametrize(
    "alter",
    [
        lambda response: response | {"response": {**response["response"], "userHandle": None}},
        lambda response: response | {"response": {**response["response"], "userHandle": "AAAA"}},
        lambda response: response | {"response": {**response["response"], "signature": "AAAA"}},
        lambda response: response | {"id": "AAAA", "rawId": "AAAA"},
        lambda _: {},
        lambda _: {"id": [], "rawId": {}, "response": 1},
    ],
    ids=["no user handle", "other user handle", "other signature", "unknown", "empty", "malformed"],
)
async def test_passkey_response_that_is_not_valid_fails_alike(
    api: Api, ada: Factors, alter: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    challenge_id, public_key = await passkey_challenge(api)
    body = {"challenge_id": challenge_id, "passkey": alter(ada.sign(public_key))}
    assert error_of(await api.post("/v1/sessions", body)) == INVALID


async def test_passkey_without_user_verification_fails(api: Api, ada: Factors) -> None:
    assert ada.passkey is not None
    ada.passkey.verifies_user = False
    assert error_of(await log_in_by_passkey(api, ada)) == INVALID
    ada.passkey.verifies_user = True
    assert (await log_in_by_passkey(api, ada)).status_code == 201


async def test_passkey_for_a_phishing_page_fails(api: Api, ada: Factors) -> None:
    challenge_id, public_key = await passkey_challenge(api)
    passkey = ada.sign(public_key, "https://login.example.org.evil.example")
    body = {"challenge_id": challenge_id, "passkey": passkey}
    assert error_of(await api.post("/v1/sessions", body)) == INVALID


@pytest.mark.parametrize(
    "meanwhile",
    [
        "UPDATE passkey_challenges SET expires_at = now()",
        "UPDATE passkey_challenges SET user_id = (SELECT id FROM users)",
        "UPDATE users SET state = 'disabled'",
        "DELETE FROM passkeys",
        "DELETE FROM users",
    ],
    ids=["expired", "of a registration", "disabled", "removed", "deleted"],
)
async def test_log_in_by_passkey_after_a_change_fails(
    api: Api, service: Services, ada: Factors, meanwhile: str
) -> None:
    challenge_id, public_key = await passkey_challenge(api)
    await execute(service.engine, meanwhile)
    body = {"challenge_id": challenge_id, "passkey": ada.sign(public_key)}
    assert error_of(await api.post("/v1/sessions", body)) == INVALID


async def test_counter_that_goes_back_is_told_and_not_fatal(
    api: Api, service: Services, ada: Factors
) -> None:
    """Source: WebAuthn Level 3 6.1.1."""
    assert ada.passkey is not None
    ada.passkey.sign_count = 10
    assert (await log_in_by_passkey(api, ada)).status_code == 201
    ada.passkey.sign_count = 4
    assert (await log_in_by_passkey(api, ada)).status_code == 201
    told = "SELECT subject_id FROM events WHERE action = 'passkey.counter_regressed'"
    assert await fetch_values(service.engine, told) == [(ada.account.id,)]
    assert await fetch_values(service.engine, "SELECT sign_count FROM passkeys") == [(11,)]


async def test_failures_of_passkeys_count_for_networks_alone(
    api: Api, service: Services, ada: Factors, at: At
) -> None:
    """The id of a passkey is no secret. Source: OWASP ASVS 5.0 6.1.1."""
    device_token = (await log_in_by_passkey(at(ABROAD), ada)).json()["device_token"]
    for _ in range(20):
        challenge_id, public_key = await passkey_challenge(at(ABROAD))
        forged = ada.sign({**public_key, "challenge": "A" * 43})
        body = {"challenge_id": challenge_id, "passkey": forged}
        assert error_of(await at(ABROAD).post("/v1/sessions", body)) == INVALID
    buckets = "SELECT count(*) FROM login_buckets WHERE failures > 0"
    assert await fetch_values(service.engine, buckets) == [(0,)]
    assert_throttled(await log_in_by_passkey(at(ABROAD), ada))
    assert_throttled(await at(ABROAD).log_in("nobody", WRONG))
    known = await log_in_by_passkey(at(ABROAD), ada, device_token=device_token)
    assert known.status_code == 201
    assert (await log_in_by_passkey(at(HOME), ada)).status_code == 201


async def test_challenges_for_passkeys_are_limited_per_network(database: str) -> None:
    settings = settings_for_tests(throttle=ThrottleSettings(passkey_challenges_per_hour=3))
    async with serving(settings, database) as running:
        async with running.client(ip=ABROAD) as client, running.client(ip=HOME) as other:
            answers = [await client.post("/v1/passkey-challenges") for _ in range(4)]
            assert [made.status_code for made in answers] == [201, 201, 201, 429]
            assert error_of(answers[3]) == (429, "rate_limited")
            assert (await other.post("/v1/passkey-challenges")).status_code == 201
        stored = await fetch_values(running.service.engine, "SELECT count(*) FROM passkey_challenges")
        assert stored == [(4,)]


async def test_passkeys_disabled_get_404(database: str) -> None:
    settings = settings_for_tests(factors=FactorSettings())
    async with serving(settings, database) as running, running.client() as client:
        assert (await client.post("/v1/passkey-challenges")).status_code == 404
        body = {"challenge_id": "0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e", "passkey": {}}
        assert error_of(await client.post("/v1/sessions", json=body)) == INVALID


async def age(service: Services, account: Account) -> None:
    old = "UPDATE sessions SET created_at = created_at - interval '1 hour' WHERE id = :id"
    await execute(service.engine, old, id=account.session_id)


async def test_step_up_makes_an_old_session_fresh(api: Api, service: Services, ada: Factors) -> None:
    """Source: OWASP ASVS 5.0 7.5.1, 7.5.3."""
    session = api.by(ada.account)
    await age(service, ada.account)
    assert error_of(await session.delete("/v1/users/me")) == (403, "reauthentication_required")

    renewed = await session.post(STEP_UP, {"totp": ada.code()})

    assert renewed.status_code == 200
    session, shown = api.by(renewed.json()["token"]), renewed.json()["session"]
    assert (shown["id"], shown["amr"], shown["assurance"]) == (
        str(ada.account.session_id),
        ["pwd", "otp", "mfa"],
        2,
    )
    assert shown["auth_time"] > shown["created_at"]
    assert (await session.get("/v1/sessions/current")).json()["session"] == shown
    assert (await session.delete("/v1/users/me")).status_code == 204


async def test_step_up_ends_the_token_that_it_renews(api: Api, ada: Factors) -> None:
    """Whoever has stolen the token is not stepped up with its owner. Source: OWASP ASVS 5.0 7.2.4."""
    stolen = api.by(ada.account)
    renewed = await api.by(ada.account).post(STEP_UP, {"totp": ada.code()})
    assert error_of(await stolen.get("/v1/users/me")) == (401, "invalid_token")
    assert (await api.by(renewed.json()["token"]).get("/v1/users/me")).status_code == 200


async def test_step_up_by_passkey_adds_its_ways(api: Api, ada: Factors) -> None:
    session = api.by(ada.account)
    challenge_id, public_key = await passkey_challenge(api)
    body = {"challenge_id": challenge_id, "passkey": ada.sign(public_key)}
    renewed = (await session.post(STEP_UP, body)).json()
    assert renewed["session"]["amr"] == ["pwd", "hwk", "user", "mfa"]
    again = await api.by(renewed["token"]).post(STEP_UP, body)
    assert faults_of(again) == [("/passkey", "invalid_value")]


async def test_step_up_with_a_wrong_factor_changes_nothing_and_is_throttled(
    api: Api, service: Services, ada: Factors
) -> None:
    session = api.by(ada.account)
    await age(service, ada.account)
    for _ in range(5):
        refused = await session.post(STEP_UP, {"totp": ada.wrong_code()})
        assert faults_of(refused) == [("/totp", "wrong_code")]
    assert_throttled(await session.post(STEP_UP, {"totp": ada.code()}))
    assert error_of(await session.delete("/v1/users/me")) == (403, "reauthentication_required")
    rejected = "SELECT count(*), count(DISTINCT actor_id) FROM events WHERE action = 'factor.rejected'"
    assert await fetch_values(service.engine, rejected) == [(5, 1)]
    await execute(service.engine, "UPDATE login_buckets SET blocked_until = now()")
    assert (await session.post(STEP_UP, {"totp": ada.code()})).status_code == 200
    assert await fetch_values(service.engine, "SELECT count(*) FROM login_buckets") == [(0,)]


async def test_step_up_takes_a_code_once(api: Api, ada: Factors) -> None:
    code = ada.code()
    renewed = await api.by(ada.account).post(STEP_UP, {"totp": code})
    again = await api.by(renewed.json()["token"]).post(STEP_UP, {"totp": code})
    assert faults_of(again) == [("/totp", "wrong_code")]


async def test_step_up_by_factors_of_another_or_without_any_fails(api: Api, ada: Factors) -> None:
    eve = api.by(await api.account("eve"))
    assert faults_of(await eve.post(STEP_UP, {"totp": ada.code()})) == [("/totp", "wrong_code")]
    challenge_id, public_key = await passkey_challenge(api)
    body = {"challenge_id": challenge_id, "passkey": ada.sign(public_key)}
    assert faults_of(await eve.post(STEP_UP, body)) == [("/passkey", "invalid_value")]
    assert (await api.by(ada.account).post(STEP_UP, {"totp": ada.code()})).status_code == 200


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ({}, [("/totp", "missing_field")]),
        ({"passkey": {}}, [("/challenge_id", "missing_field")]),
        (
            {
                "totp": "123456",
                "passkey": {},
                "challenge_id": "0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e",
            },
            [("/totp", "conflicting_fields")],
        ),
    ],
)
async def test_step_up_without_exactly_one_factor_names_the_fields(
    api: Api, ada: Factors, body: dict[str, Any], faults: list[tuple[str, str]]
) -> None:
    assert faults_of(await api.by(ada.account).post(STEP_UP, body)) == faults


async def test_step_up_lifts_a_session_that_lacks_the_demanded_factor(database: str) -> None:
    settings = settings_for_tests(
        factors=settings_for_tests().factors.model_copy(update={"required": "admins"})
    )
    async with serving(settings, database) as running, running.client() as client:
        api = Api(client, running.service)
        root = await enroll(api, await api.account("root", role=UserRole.ADMIN), totp=True)
        session = api.by(root.account)
        assert error_of(await session.get("/v1/users")) == (403, "factor_enrollment_required")
        token = (await session.post(STEP_UP, {"totp": root.code()})).json()["token"]
        assert (await api.by(token).get("/v1/users")).status_code == 200
