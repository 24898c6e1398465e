"""Races of second factors: one code, one challenge and one recovery code open one session each."""

import asyncio
from typing import Any

import httpx
import pytest
from rollcall_testkit.passkeys import SoftwarePasskey

from service.services import Services
from settings.throttle import ThrottleSettings
from tests.faults.racing import ROUNDS, clear_throttle, concurrently
from tests.flows.throttling import SETTINGS
from tests.support.api import Api, error_of, running_with, serving
from tests.support.databases import execute, fetch_values
from tests.support.second_factors import ada_with, answer, ask, enroll, passkey_challenge
from tests.support.settings import settings_for_tests

pytestmark = pytest.mark.usefixtures("_many_processes")

running = running_with(SETTINGS)


def statuses(responses: list[httpx.Response]) -> list[int]:
    return sorted(response.status_code for response in responses)


async def sessions_opened(service: Services) -> list[tuple[object, ...]]:
    counted = "SELECT count(*) FROM sessions WHERE device_id IS NOT NULL"
    return await fetch_values(service.engine, counted)


async def test_one_code_in_twenty_logins_opens_one_session(api: Api, service: Services) -> None:
    """Source: RFC 6238 5.2; OWASP ASVS 5.0 6.5.1."""
    ada = await ada_with(api, totp=True)
    challenges = [(await ask(api))["challenge"] for _ in range(20)]
    for _ in range(max(1, ROUNDS // 15)):
        await execute(service.engine, "UPDATE totp_secrets SET last_step = 0")
        code, before = ada.code(), await sessions_opened(service)
        # Attempts at an account take turns of five: a wrong one is counted, and those after it wait.
        responses = await concurrently(*(answer(api, challenge, totp=code) for challenge in challenges))
        opened = [response for response in responses if response.status_code == 201]
        assert len(opened) == 1
        assert {error_of(other) for other in responses if other not in opened} <= {
            (401, "invalid_credentials"),
            (429, "login_throttled"),
        }
        assert await sessions_opened(service) == [(before[0][0] + 1,)]  # type: ignore[operator]
        await clear_throttle(service)
        challenges = [(await ask(api))["challenge"] for _ in range(20)]


async def test_one_challenge_served_twenty_times_opens_one_session(api: Api, service: Services) -> None:
    ada = await ada_with(api, totp=True, recovery_codes=True)
    challenge = (await ask(api))["challenge"]
    factors: list[dict[str, Any]] = [{"recovery_code": code} for code in ada.recovery_codes] * 2
    responses = await concurrently(*(answer(api, challenge, **factor) for factor in factors))
    assert statuses(responses).count(201) == 1
    assert await sessions_opened(service) == [(1,)]
    assert await fetch_values(service.engine, "SELECT count(*) FROM recovery_codes") == [(9,)]


async def test_one_recovery_code_in_five_logins_opens_one_session(api: Api, service: Services) -> None:
    ada = await ada_with(api, totp=True, recovery_codes=True)
    challenges = [(await ask(api))["challenge"] for _ in range(5)]
    code = ada.recovery_codes[0]
    responses = await concurrently(*(answer(api, each, recovery_code=code) for each in challenges))
    assert statuses(responses) == [201, 401, 401, 401, 401]


async def test_one_passkey_challenge_served_ten_times_opens_one_session(api: Api, service: Services) -> None:
    ada = await ada_with(api, passkey=SoftwarePasskey())
    challenge_id, public_key = await passkey_challenge(api)
    body = {"challenge_id": challenge_id, "passkey": ada.sign(public_key)}
    responses = await concurrently(*(api.post("/v1/sessions", body) for _ in range(10)))
    assert statuses(responses) == [201] + [401] * 9
    assert await sessions_opened(service) == [(1,)]


async def test_wrong_codes_at_once_are_verified_no_more_often_than_in_a_row(
    api: Api, service: Services
) -> None:
    """Source: CVE-2023-47111; NIST SP 800-63B-4 3.2.2."""
    ada = await ada_with(api, totp=True)
    challenges = [(await ask(api))["challenge"] for _ in range(4)]
    wrong = [answer(api, challenge, totp=ada.wrong_code()) for challenge in challenges for _ in range(10)]
    responses = await concurrently(*wrong)
    assert statuses(responses).count(401) == 5
    assert statuses(responses).count(429) == 35
    assert await fetch_values(service.engine, "SELECT failures FROM login_buckets") == [(5,)]


async def test_tries_at_a_challenge_at_once_are_five(
    service: Services, shared_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the throttle leaves more room, as for an owner's many devices."""
    assert not await fetch_values(service.engine, "SELECT 1 FROM users")
    settings = settings_for_tests(throttle=ThrottleSettings(free_attempts=20))
    async with serving(settings, shared_database) as roomy, roomy.client() as client:
        api, verified = Api(client, roomy.service), []
        verify = roomy.service.login.factors.verify

        async def recording(*arguments: Any) -> Any:
            verified.append(arguments)
            return await verify(*arguments)

        ada = await ada_with(api, totp=True)
        challenge = (await ask(api))["challenge"]
        monkeypatch.setattr(roomy.service.login.factors, "verify", recording)
        await concurrently(*(answer(api, challenge, totp=ada.wrong_code()) for _ in range(12)))
        assert len(verified) == 5


async def test_removal_of_the_factor_beside_logins_leaves_no_session_after_it(
    api: Api, service: Services
) -> None:
    root, account = await api.admin(), await api.account("ada")
    for number in range(ROUNDS // 3):
        ada = await enroll(api, account, totp=True)
        challenges = [(await ask(api))["challenge"] for _ in range(2)]
        logins = [answer(api, challenge, totp=ada.code()) for challenge in challenges]
        removal = api.by(root).delete(f"/v1/users/{account.id}/factors")
        requests = [*logins, removal] if number % 2 else [removal, *logins]
        responses = await concurrently(*requests)
        removed = next(response for response in responses if response.status_code == 204)
        for opened in (response for response in responses if response is not removed):
            assert opened.status_code in {201, 401}
            if opened.status_code == 201:  # it came first, and has ended
                session = api.by(opened.json()["token"])
                assert (await session.get("/v1/users/me")).status_code == 401
        assert await sessions_opened(service) == [(0,)]
        await clear_throttle(service)


async def test_deletion_of_the_user_beside_logins_leaves_nothing(api: Api, service: Services) -> None:
    root = await api.admin()
    for number in range(ROUNDS // 3):
        ada = await ada_with(api, totp=True)
        login = answer(api, (await ask(api))["challenge"], totp=ada.code())
        deletion = api.by(root).delete(f"/v1/users/{ada.account.id}")
        await concurrently(*([login, deletion] if number % 2 else [deletion, login]))
        assert await sessions_opened(service) == [(0,)]
        await clear_throttle(service)


async def test_challenge_is_served_at_another_replica_after_a_restart(database: str) -> None:
    settings = settings_for_tests()
    async with serving(settings, database) as first, first.client() as client:
        one = Api(client, first.service)
        ada = await enroll(one, await one.account("ada"), totp=True, passkey=SoftwarePasskey())
        problem = await ask(one)
        challenge_id, public_key = await passkey_challenge(one)
    async with serving(settings, database) as second, second.client() as client:
        other = Api(client, second.service)
        assert (await answer(other, problem["challenge"], totp=ada.code())).status_code == 201
        by_passkey = {"challenge_id": challenge_id, "passkey": ada.sign(public_key)}
        assert (await other.post("/v1/sessions", by_passkey)).status_code == 201


async def test_right_codes_of_parallel_logins_take_turns(api: Api) -> None:
    """Recovery codes: each is right once. None is refused because others are in flight."""
    ada = await ada_with(api, totp=True, recovery_codes=True)
    challenges = await asyncio.gather(*(ask(api) for _ in range(10)))
    responses = await concurrently(
        *(
            answer(api, problem["challenge"], recovery_code=code)
            for problem, code in zip(challenges, ada.recovery_codes, strict=True)
        )
    )
    assert statuses(responses) == [201] * 10
