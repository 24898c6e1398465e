"""Logging in by an address, or by a code from a mail."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from service.services import Services
from settings.login import LoginSettings
from tests.flows.conftest import At
from tests.flows.recovering import ADDRESS, account_with_address
from tests.flows.throttling import assert_throttled
from tests.support.api import OTHER_PASSWORD, PASSWORD, Api, error_of, faults_of, serving
from tests.support.databases import execute, fetch_values
from tests.support.mail import sent_mails
from tests.support.settings import settings_for_tests

NOBODY = {"login_id": "nobody"}


async def ask(api: Api, **name: str) -> str:
    asked = await api.post("/v1/login-codes", name or {"login_id": "ada"})
    assert asked.status_code == 202
    code_token: str = asked.json()["code_token"]
    return code_token


async def enter(api: Api, code_token: str, code: str, **more: Any) -> httpx.Response:
    return await api.post("/v1/sessions", {"code_token": code_token, "code": code, **more})


def other(code: str) -> str:
    return f"{(int(code) + 1) % 10**8:08}"


@pytest.mark.parametrize("name", [{"login_id": "ADA"}, {"email": "Ada@example.org"}])
async def test_log_in_by_code_opens_a_session_once(api: Api, service: Services, name: dict[str, str]) -> None:
    ada = await account_with_address(api)
    code_token = await ask(api, **name)
    (mail,) = await sent_mails(service)
    assert (mail.recipient, mail.kind, len(mail.token)) == (ADDRESS, "login_code", 8)

    opened = await enter(api, code_token, mail.token)
    assert opened.status_code == 201
    assert opened.json()["user"]["id"] == str(ada.id)
    assert (await api.by(opened.json()["token"]).get("/v1/users/me")).status_code == 200
    assert error_of(await enter(api, code_token, mail.token)) == (401, "invalid_credentials")


async def test_log_in_by_code_from_a_known_device_keeps_it(api: Api, service: Services) -> None:
    await account_with_address(api)
    device_token = (await api.log_in("ada")).json()["device_token"]
    code_token = await ask(api)
    (mail,) = await sent_mails(service)
    opened = await enter(api, code_token, mail.token, device_token=device_token)
    assert opened.json()["device_token"] == device_token


async def test_log_in_by_code_of_another_browser_fails(api: Api, service: Services) -> None:
    await account_with_address(api)
    mine, theirs = await ask(api), await ask(api)
    codes = [mail.token for mail in await sent_mails(service)]
    assert len(set(codes)) == 2
    assert error_of(await enter(api, "rcl_" + "x" * 43, codes[0])) == (401, "invalid_credentials")
    answers = [await enter(api, token, code) for token in (mine, theirs) for code in codes]
    statuses = [answer.status_code for answer in answers]
    assert statuses in ([201, 401, 401, 201], [401, 201, 201, 401])


async def test_log_in_by_code_has_five_tries(api: Api, service: Services) -> None:
    await account_with_address(api)
    code_token = await ask(api)
    (mail,) = await sent_mails(service)
    wrong = await asyncio.gather(*(enter(api, code_token, other(mail.token)) for _ in range(5)))
    assert {error_of(answer) for answer in wrong} == {(401, "invalid_credentials")}
    assert error_of(await enter(api, code_token, mail.token)) == (401, "invalid_credentials")


async def test_log_in_by_code_four_times_wrong_then_right_succeeds(api: Api, service: Services) -> None:
    await account_with_address(api)
    code_token = await ask(api)
    (mail,) = await sent_mails(service)
    for _ in range(4):
        await enter(api, code_token, other(mail.token))
    assert (await enter(api, code_token, mail.token)).status_code == 201


async def test_log_in_by_code_concurrently_opens_one_session(api: Api, service: Services) -> None:
    await account_with_address(api)
    code_token = await ask(api)
    (mail,) = await sent_mails(service)
    answers = await asyncio.gather(*(enter(api, code_token, mail.token) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [201, 401, 401, 401, 401]


@pytest.mark.parametrize(
    "meanwhile",
    [
        "UPDATE login_codes SET expires_at = now()",
        "UPDATE users SET state = 'disabled'",
        "DELETE FROM users",
    ],
)
async def test_log_in_by_code_too_late_or_without_an_active_user_fails(
    api: Api, service: Services, meanwhile: str
) -> None:
    await account_with_address(api)
    code_token = await ask(api)
    (mail,) = await sent_mails(service)
    await execute(service.engine, meanwhile)
    assert error_of(await enter(api, code_token, mail.token)) == (401, "invalid_credentials")


async def _set_address(admin: Api, path: str, _ada: Api) -> list[httpx.Response]:
    return [await admin.patch(path, {"email": "new@example.org", "email_verified": True})]


async def _change_password(_admin: Api, path: str, ada: Api) -> list[httpx.Response]:
    body = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
    return [await ada.put(f"{path}/password", body)]


async def _disable_for_a_moment(admin: Api, path: str, _ada: Api) -> list[httpx.Response]:
    return [await admin.patch(path, {"state": state}) for state in ("disabled", "active")]


async def _end_sessions(admin: Api, path: str, _ada: Api) -> list[httpx.Response]:
    return [await admin.delete(f"{path}/sessions")]


@pytest.mark.parametrize(
    "change", [_set_address, _change_password, _disable_for_a_moment, _end_sessions], ids=lambda f: f.__name__
)
async def test_change_of_the_user_ends_a_code_that_was_mailed_before(
    api: Api, service: Services, change: Callable[[Api, str, Api], Awaitable[list[httpx.Response]]]
) -> None:
    """Source: OWASP ASVS 5.0 7.4.3; who had the mailbox, or the account, has neither any more."""
    ada = await account_with_address(api)
    code_token = await ask(api)
    (mail,) = await sent_mails(service)
    answers = await change(api.by(await api.admin()), f"/v1/users/{ada.id}", api.by(ada))
    assert all(answer.is_success for answer in answers)
    assert error_of(await enter(api, code_token, mail.token)) == (401, "invalid_credentials")


async def test_wrong_codes_beyond_the_network_limit_get_429_and_are_not_recorded(
    api: Api, service: Services, at: At
) -> None:
    """A failure is a row of the audit trail, which is kept for a year. Source: OWASP ASVS 5.0 2.4.1."""
    await account_with_address(api)
    device_token = (await api.log_in("ada")).json()["device_token"]
    code_token = await ask(api)
    (mail,) = await sent_mails(service)
    stranger = at("203.0.113.66")
    unknown = [await enter(stranger, "rcl_" + "x" * 43, "12345678") for _ in range(20)]
    assert {error_of(answer) for answer in unknown} == {(401, "invalid_credentials")}
    assert_throttled(await enter(stranger, "rcl_" + "x" * 43, "12345678"))
    assert_throttled(await enter(stranger, "no token", "12345678"))
    assert_throttled(await enter(stranger, code_token, mail.token))
    failed = "SELECT count(*) FROM events WHERE action = 'login.failed'"
    assert await fetch_values(service.engine, failed) == [(20,)]
    assert await fetch_values(service.engine, "SELECT tries FROM login_codes") == [(0,)]
    known = await enter(stranger, code_token, mail.token, device_token=device_token)
    assert known.status_code == 201


async def test_request_a_code_without_a_user_looks_the_same_and_has_the_same_rows(
    api: Api, service: Services
) -> None:
    await account_with_address(api)
    tokens = [await ask(api), await ask(api, **NOBODY)]
    (mail,) = await sent_mails(service)
    assert mail.recipient == ADDRESS
    answers = [(await enter(api, token, other(mail.token))).json() for token in tokens]
    assert len({str({**answer, "instance": ""}) for answer in answers}) == 1
    assert await fetch_values(service.engine, "SELECT tries FROM login_codes") == [(1,), (1,)]


async def test_log_in_with_a_verified_address_and_a_password_succeeds(api: Api, service: Services) -> None:
    ada = await account_with_address(api)
    body = {"email": "ADA@example.org", "password": PASSWORD}
    opened = await api.post("/v1/sessions", body)
    assert (opened.status_code, opened.json()["user"]["id"]) == (201, str(ada.id))
    assert error_of(await api.post("/v1/sessions", body | {"password": "x"})) == (401, "invalid_credentials")
    await execute(service.engine, "UPDATE users SET email_verified_at = NULL")
    assert error_of(await api.post("/v1/sessions", body)) == (401, "invalid_credentials")


async def test_log_in_with_an_address_that_is_the_login_id_of_another_reaches_neither(api: Api) -> None:
    await api.account("eve@example.org")
    body = {"email": "eve@example.org", "password": PASSWORD}
    assert error_of(await api.post("/v1/sessions", body)) == (401, "invalid_credentials")


async def test_log_in_with_an_address_is_throttled_alike_with_and_without_a_user(
    api: Api, service: Services
) -> None:
    await account_with_address(api)
    statuses = []
    for email in ("nobody@example.org", "noone@example.org", ADDRESS):
        body = {"email": email, "password": "wrong horse battery"}
        statuses.append([(await api.post("/v1/sessions", body)).status_code for _ in range(6)])
    assert statuses == [[401, 401, 401, 401, 401, 429]] * 3


async def test_log_in_by_code_forgets_no_failures_of_unknown_devices(api: Api, service: Services) -> None:
    await account_with_address(api)
    for _ in range(3):
        await api.post("/v1/sessions", {"login_id": "ada", "password": "wrong horse battery"})
    failures = "SELECT failures FROM login_buckets WHERE user_id IS NULL"
    assert await fetch_values(service.engine, failures) == [(3,)]
    code_token = await ask(api)
    (mail,) = await sent_mails(service)
    assert (await enter(api, code_token, mail.token)).status_code == 201
    assert await fetch_values(service.engine, failures) == [(3,)]


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ({}, [("/login_id", "missing_field"), ("/password", "missing_field")]),
        ({"login_id": "ada"}, [("/password", "missing_field")]),
        ({"code": "12345678"}, [("/code_token", "missing_field")]),
        (
            {"login_id": "ada", "email": ADDRESS, "password": PASSWORD},
            [("/email", "conflicting_fields")],
        ),
    ],
)
async def test_log_in_with_no_or_mixed_credentials_names_the_fields(
    api: Api, body: dict[str, str], faults: list[tuple[str, str]]
) -> None:
    assert faults_of(await api.post("/v1/sessions", body)) == faults


async def test_request_a_code_where_it_is_off_gets_404(database: str) -> None:
    settings = settings_for_tests(login=LoginSettings())
    async with serving(settings, database) as running, running.client() as client:
        refused = await client.post("/v1/login-codes", json={"login_id": "ada"})
        assert refused.status_code == 404


async def test_log_in_from_a_new_device_tells_the_owner_but_not_of_the_first_login(
    api: Api, service: Services
) -> None:
    await account_with_address(api)
    device_token = (await api.log_in("ada")).json()["device_token"]
    await api.log_in("ada", device_token=device_token)
    assert await sent_mails(service) == []
    body = {"login_id": "ada", "password": PASSWORD}
    await api.request(
        "POST", "/v1/sessions", json=body, headers={"User-Agent": "Evil/1 (http://evil.example)"}
    )
    (mail,) = await sent_mails(service)
    assert (mail.recipient, mail.kind) == (ADDRESS, "new_device")
    assert "127.0.0.1" in mail.text
    assert "://" not in mail.text


async def test_log_in_again_and_again_from_new_devices_mails_five_notices_an_hour(
    api: Api, service: Services
) -> None:
    """A script that logs in for each request keeps no device token."""
    await account_with_address(api)
    assert [(await api.log_in("ada")).status_code for _ in range(9)] == [201] * 9
    assert [mail.kind for mail in await sent_mails(service)] == ["new_device"] * 5
