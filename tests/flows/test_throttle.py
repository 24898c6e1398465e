"""The login throttle by user and device. Rows are aged instead of waiting."""

import httpx
import pytest

from service.domain.throttle import ThrottlePolicy
from service.services import Services
from service.usecases.cleanup import purge_expired
from tests.flows.conftest import At
from tests.flows.throttling import (
    ABROAD,
    HOME,
    INITIAL_BACKOFF_S,
    SETTINGS,
    WRONG,
    age,
    assert_throttled,
    bucket_counts,
    clear_networks,
    expire_backoff,
    guess,
)
from tests.support.api import OTHER_PASSWORD, PASSWORD, Api, running_with
from tests.support.databases import execute, fetch_values

pytestmark = pytest.mark.usefixtures("_many_processes")

running = running_with(SETTINGS)


async def test_login_after_five_failures_has_to_wait(api: Api, service: Services) -> None:
    await api.account("ada")
    assert await guess(api, count=5) == [401] * 5
    assert 1 <= assert_throttled(await api.log_in("ada", WRONG)) <= INITIAL_BACKOFF_S


@pytest.mark.parametrize("is_known", [False, True], ids=["stranger", "known device"])
async def test_login_by_address_and_by_login_id_share_a_bucket(
    api: Api, service: Services, *, is_known: bool
) -> None:
    """Otherwise each name of an account would give as many guesses again."""
    await api.account("ada")
    await execute(service.engine, "UPDATE users SET email = 'ada@example.org', email_verified_at = now()")
    body = {"password": WRONG}
    if is_known:
        body["device_token"] = (await api.log_in("ada")).json()["device_token"]
    names = ({"login_id": "ada"}, {"email": "Ada@example.org"}, {"login_id": "ADA"})

    async def guess_as(name: dict[str, str]) -> httpx.Response:
        return await api.post("/v1/sessions", body | name)

    statuses = [(await guess_as(names[turn % 3])).status_code for turn in range(5)]
    assert statuses == [401] * 5
    for name in names:
        assert_throttled(await guess_as(name))
    assert (await bucket_counts(service))[-1] == (5,)


async def test_login_while_throttled_is_neither_verified_nor_counted(api: Api, service: Services) -> None:
    await api.account("ada")
    await guess(api, count=5)
    before = service.hasher.stats().done_total
    assert_throttled(await api.log_in("ada", PASSWORD))
    assert await guess(api, count=10) == [429] * 10
    assert service.hasher.stats().done_total == before
    assert await bucket_counts(service) == [(5,)]
    assert await fetch_values(
        service.engine, "SELECT count(*) FROM events WHERE action = 'login.failed'"
    ) == [(5,)]


async def test_login_after_each_further_failure_doubles_the_backoff(api: Api, service: Services) -> None:
    await api.account("ada")
    waits = []
    for _ in range(10):
        assert await guess(api) == [401]
        rows = await fetch_values(
            service.engine,
            "SELECT coalesce(round(extract(epoch FROM blocked_until - updated_at)), 0)::int"
            " FROM login_buckets",
        )
        waits.append(rows[0][0])
        await expire_backoff(service)
        await clear_networks(service)
    policy = service.policies.throttle
    assert waits == [policy.backoff_after(failures).total_seconds() for failures in range(1, 11)]
    assert waits == [0] * 4 + [60, 120, 240, 480, 900, 900]


def test_default_backoff_doubles_from_one_second_to_fifteen_minutes() -> None:
    waits = [ThrottlePolicy().backoff_after(failures).total_seconds() for failures in range(1, 18)]
    assert waits == [0] * 4 + [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]


async def test_login_from_unknown_device_after_thirty_failures_waits_for_the_hour(
    api: Api, service: Services, at: At
) -> None:
    await api.account("ada")
    for turn in range(30):
        assert await guess(at(f"203.0.113.{turn}")) == [401]
        await expire_backoff(service)
    assert 3500 < assert_throttled(await at("203.0.113.77").log_in("ada")) <= 3600
    await age(service, "1 hour")
    assert await guess(at("203.0.113.78")) == [401]


async def test_login_after_a_hundred_failures_in_a_row_stays_blocked_for_unknown_devices(
    api: Api, service: Services, at: At
) -> None:
    ada = await api.account("ada")
    device = (await at(HOME).log_in("ada")).json()["device_token"]
    await guess(at(ABROAD))
    await execute(service.engine, "UPDATE login_buckets SET failures = 99")
    assert await guess(at(ABROAD)) == [401]
    await age(service, "7 hours")
    assert_throttled(await at(ABROAD).log_in("ada"))
    assert (await at(ABROAD).log_in("ada", device_token=device)).status_code == 201
    assert_throttled(await at("192.0.2.1").log_in("ada"))
    admin = api.by(await api.admin())
    reset = (await admin.post(f"/v1/users/{ada.id}/reset-tokens")).json()["token"]
    body = {"token": reset, "new_password": OTHER_PASSWORD}
    assert (await at("192.0.2.1").post("/v1/reset-tokens/redeem", body)).status_code == 204
    assert (await at("192.0.2.1").log_in("ada", OTHER_PASSWORD)).status_code == 201
    assert_throttled(await at("192.0.2.2").log_in("ada", OTHER_PASSWORD))


async def test_login_after_a_hundred_failures_in_a_row_is_allowed_again_one_failure_after_the_other(
    api: Api, service: Services, at: At
) -> None:
    """A hundred failures are forgotten in thirty days."""
    await api.account("ada")
    await guess(api)
    await execute(service.engine, "UPDATE login_buckets SET failures = 100")
    await age(service, "7 hours 11 minutes")
    assert 0 < assert_throttled(await at(HOME).log_in("ada")) <= 60
    await age(service, "1 minute")
    assert await guess(at(ABROAD)) == [401]
    await expire_backoff(service)
    assert 25_800 < assert_throttled(await at(HOME).log_in("ada")) <= 25_920
    assert await bucket_counts(service) == [(100,)]


async def throttle_rows(service: Services) -> list[tuple[object, ...]]:
    return await fetch_values(
        service.engine, "SELECT user_id, failures, hour_failures, blocked_until > now() FROM login_buckets"
    )


@pytest.mark.parametrize(
    "event", ["log in", "change password", "set password", "reset password", "disable", "delete"]
)
async def test_failures_for_a_login_id_are_kept_as_for_an_unknown_one_whatever_happens_to_its_user(
    api: Api, service: Services, at: At, event: str
) -> None:
    """What is forgotten tells that there is a user."""
    ada, root = await api.account("ada"), api.by(await api.admin())
    assert await guess(at(ABROAD), count=4) == [401] * 4
    assert await throttle_rows(service) == [(None, 4, 4, None)]
    path, new = f"/v1/users/{ada.id}", {"new_password": OTHER_PASSWORD}
    token = (await root.post(f"{path}/reset-tokens")).json()["token"]
    done = {
        "log in": lambda: at(HOME).log_in("ada"),
        "change password": lambda: api.by(ada).put(f"{path}/password", {**new, "current_password": PASSWORD}),
        "set password": lambda: root.put(f"{path}/password", new),
        "reset password": lambda: at(HOME).post("/v1/reset-tokens/redeem", {**new, "token": token}),
        "disable": lambda: root.patch(path, {"state": "disabled"}),
        "delete": lambda: root.delete(path),
    }
    assert (await done[event]()).status_code in {200, 201, 204}
    assert await throttle_rows(service) == [(None, 4, 4, None)]


async def test_failures_are_forgotten_after_thirty_days_alike_with_and_without_user(
    api: Api, service: Services, at: At
) -> None:
    await api.account("ada")
    seen: dict[str, list[int]] = {"ada": [], "nobody": []}
    for login_id, statuses in seen.items():
        await guess(at(ABROAD), login_id)
        await execute(service.engine, "UPDATE login_buckets SET failures = 100")
        statuses += await guess(at(ABROAD), login_id)
    await age(service, "31 days")
    await purge_expired(service.background_database, service.policies.retention)
    assert await bucket_counts(service) == []
    for login_id, statuses in seen.items():
        statuses += await guess(at(ABROAD), login_id)
    assert seen["ada"] == seen["nobody"] == [429, 401]


async def test_login_id_that_cannot_be_one_is_counted_by_network_alone(
    api: Api, service: Services, at: At
) -> None:
    """No digest of it is kept: people type their password into the field."""
    assert await guess(at(HOME), PASSWORD, count=3) + await guess(at(HOME), "other words", count=3) == (
        [401] * 5 + [429]
    )
    ((first,),) = await fetch_values(service.engine, "SELECT digest FROM login_buckets")
    assert await guess(at(ABROAD), PASSWORD) == [401]
    await execute(service.engine, "DELETE FROM login_buckets WHERE digest = :first", first=first)
    assert await guess(at(HOME), "yet another thing") == [401]
    again = await fetch_values(service.engine, "SELECT digest FROM login_buckets WHERE digest = :d", d=first)
    assert again == [(first,)]


async def test_login_to_unknown_login_id_is_throttled_alike(api: Api, service: Services, at: At) -> None:
    """Source: GHSA-c27j-76xg-6x4f."""
    await api.account("ada")
    seen: dict[str, list[tuple[int, bool]]] = {}
    for ip, login_id in ((HOME, "ada"), (ABROAD, "nobody")):
        answers = [await at(ip).log_in(login_id, WRONG) for _ in range(8)]
        seen[login_id] = [(answer.status_code, "Retry-After" in answer.headers) for answer in answers]
    assert seen["ada"] == seen["nobody"] == [(401, False)] * 5 + [(429, True)] * 3


@pytest.mark.parametrize("spellings", [["ada", "ADA", "Ada", "aDa", "adA"], ["\u0130", "\u0130"]])
async def test_login_in_several_spellings_is_counted_together(
    api: Api, service: Services, spellings: list[str]
) -> None:
    for login_id in spellings:
        assert await guess(api, login_id) == [401]
    assert await bucket_counts(service) == [(len(spellings),)]


async def test_change_password_after_repeated_failures_has_to_wait(
    api: Api, service: Services, at: At
) -> None:
    """Source: Keycloak CVE-2026-9798: one path to a password was not throttled."""
    ada = api.by(await api.account("ada"))
    change = {"current_password": WRONG, "new_password": "a third password for ada"}
    answers = [await ada.put("/v1/users/me/password", change) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [422] * 5 + [429]
    assert answers[0].json()["errors"][0] == {
        "pointer": "/current_password",
        "code": "wrong_password",
        "detail": "This is not the current password.",
    }
    assert_throttled(answers[-1])
    right = {**change, "current_password": PASSWORD}
    assert_throttled(await ada.put("/v1/users/me/password", right))
    await expire_backoff(service)
    assert (await ada.put("/v1/users/me/password", right)).status_code == 204
    assert await bucket_counts(service) == []
