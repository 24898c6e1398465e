"""The throttle at the second step of a login: tries count like wrong passwords."""

from typing import Any

import pytest

from service.services import Services
from tests.flows.conftest import At
from tests.flows.throttling import ABROAD, HOME, SETTINGS, WRONG, assert_throttled
from tests.support.api import Api, error_of, running_with
from tests.support.databases import execute, fetch_values
from tests.support.second_factors import INVALID, ada_with, answer, ask

running = running_with(SETTINGS)


async def test_challenge_has_five_tries(api: Api, service: Services, at: At) -> None:
    """Source: OWASP ASVS 5.0 6.6.3."""
    ada = await ada_with(api, totp=True)
    challenge = (await ask(api))["challenge"]
    for place in range(5):
        wrong = await answer(at(f"192.0.2.{place}"), challenge, totp=ada.wrong_code())
        assert error_of(wrong) == INVALID
    await execute(service.engine, "DELETE FROM login_buckets")
    assert error_of(await answer(api, challenge, totp=ada.code())) == INVALID


async def test_tries_count_with_wrong_passwords(api: Api, at: At) -> None:
    """A right password forgives nothing, or it would buy tries. Source: NIST SP 800-63B-4 3.2.2."""
    ada = await ada_with(api, totp=True)
    for _ in range(3):
        assert error_of(await at(ABROAD).log_in("ada", WRONG)) == INVALID
    challenge = (await ask(at(ABROAD)))["challenge"]
    for _ in range(2):
        assert error_of(await answer(at(ABROAD), challenge, totp=ada.wrong_code())) == INVALID
    assert_throttled(await answer(at(ABROAD), challenge, totp=ada.code()))
    assert_throttled(await at(ABROAD).log_in("ada"))


async def test_right_password_clears_no_failures_of_a_known_network(
    api: Api, service: Services, at: At
) -> None:
    ada = await ada_with(api, totp=True)
    assert (await answer(at(HOME), (await ask(at(HOME)))["challenge"], totp=ada.code())).is_success
    for _ in range(4):
        assert error_of(await at(HOME).log_in("ada", WRONG)) == INVALID
        challenge = (await ask(at(HOME)))["challenge"]
    failures = "SELECT failures FROM login_buckets WHERE user_id IS NOT NULL"
    assert await fetch_values(service.engine, failures) == [(4,)]
    assert (await answer(at(HOME), challenge, totp=ada.code(steps=1))).status_code == 201
    assert await fetch_values(service.engine, failures) == []


async def test_throttled_try_is_not_counted_at_the_challenge(api: Api, service: Services, at: At) -> None:
    ada = await ada_with(api, totp=True)
    challenge = (await ask(at(ABROAD)))["challenge"]
    for _ in range(5):
        await at(ABROAD).log_in("ada", WRONG)
    for _ in range(6):
        assert_throttled(await answer(at(ABROAD), challenge, totp=ada.code()))
    await execute(service.engine, "DELETE FROM login_buckets")
    assert (await answer(at(ABROAD), challenge, totp=ada.code())).status_code == 201


async def test_strangers_do_not_lock_out_the_owner_on_a_known_device(api: Api, at: At) -> None:
    """Source: OWASP ASVS 5.0 6.1.1."""
    ada = await ada_with(api, totp=True)
    opened = await answer(at(HOME), (await ask(at(HOME)))["challenge"], totp=ada.code())
    device = {"device_token": opened.json()["device_token"]}
    for _ in range(6):
        await at(ABROAD).log_in("ada", WRONG)
    assert_throttled(await at(ABROAD).log_in("ada"))
    challenge = (await ask(at(ABROAD), **device))["challenge"]
    assert_throttled(await answer(at(ABROAD), challenge, totp=ada.code(steps=1)))
    again = await answer(at(ABROAD), challenge, totp=ada.code(steps=1), **device)
    assert (again.status_code, again.json()["device_token"]) == (201, device["device_token"])


async def test_second_factor_at_the_limit_of_a_network_shows_nothing(
    api: Api, service: Services, at: At
) -> None:
    ada = await ada_with(api, totp=True)
    challenge = (await ask(at(ABROAD)))["challenge"]
    await execute(
        service.engine,
        "INSERT INTO network_buckets (network, minute_failures, hour_failures) VALUES (:name, 1000, 1000)",
        name=f"{ABROAD}/32",
    )
    assert_throttled(await answer(at(ABROAD), challenge, totp=ada.code()))
    assert_throttled(await answer(at(ABROAD), challenge, totp=ada.wrong_code()))
    assert (await answer(at(HOME), challenge, totp=ada.code())).status_code == 201


async def test_second_factor_at_a_limit_that_is_reached_meanwhile_shows_nothing(
    api: Api, service: Services, at: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of concurrent guesses of a network at many users, no more than its limit get a result."""
    ada = await ada_with(api, totp=True)
    verify = service.login.factors.verify

    async def verify_while_others_fail(*arguments: Any) -> Any:
        full = (
            "INSERT INTO network_buckets (network, minute_failures, hour_failures)"
            " VALUES (:name, 1000, 1000) ON CONFLICT DO NOTHING"
        )
        await execute(service.engine, full, name=f"{ABROAD}/32")
        return await verify(*arguments)

    monkeypatch.setattr(service.login.factors, "verify", verify_while_others_fail)
    challenge = (await ask(at(ABROAD)))["challenge"]
    assert_throttled(await answer(at(ABROAD), challenge, totp=ada.code()))
    await execute(service.engine, "DELETE FROM network_buckets")
    assert_throttled(await answer(at(ABROAD), challenge, totp=ada.wrong_code()))
