"""Forgotten passwords: a mailed token sets a new one."""

from typing import Any

import pytest

from service.domain.keys import Scope
from service.services import Services
from tests.flows.conftest import At
from tests.flows.recovering import ADDRESS, AGE, account_with_address, redeem
from tests.support.api import OTHER_PASSWORD, PASSWORD, Api, error_of
from tests.support.databases import execute, fetch_values
from tests.support.mail import sent_mails


@pytest.mark.parametrize("asked", [{"login_id": "Ada"}, {"email": "ADA@example.org"}])
async def test_recover_by_mail_sets_a_password_once(
    api: Api, service: Services, asked: dict[str, str]
) -> None:
    ada = await account_with_address(api)
    assert (await api.post("/v1/recoveries", asked)).status_code == 202
    (mail,) = await sent_mails(service)
    assert (mail.recipient, mail.kind) == (ADDRESS, "recovery")

    assert (await redeem(api, mail.token)).status_code == 204
    assert error_of(await api.by(ada).get("/v1/users/me")) == (401, "invalid_token")
    assert (await api.log_in("ada", OTHER_PASSWORD)).status_code == 201
    assert error_of(await redeem(api, mail.token)) == (401, "invalid_token")
    (notice,) = await sent_mails(service)
    assert (notice.recipient, notice.kind) == (ADDRESS, "password_changed")


async def test_recover_returns_the_same_bytes_and_mails_verified_addresses_of_active_users_alone(
    api: Api, service: Services
) -> None:
    await account_with_address(api)
    await account_with_address(api, login_id="off", email="off@example.org")
    await execute(service.engine, "UPDATE users SET state = 'disabled' WHERE login_id = 'off'")
    await api.account("bare")
    await api.account("claims")
    await execute(service.engine, "UPDATE users SET email = 'c@example.org' WHERE login_id = 'claims'")
    names = [
        {"login_id": name}
        for name in ("ada", "off", "bare", "claims", "nobody", "me", "a b", "\u0001", "\0", "x" * 5000)
    ]
    names += [{"email": email} for email in ("c@example.org", "nobody@example.org", "no address", "", "\0")]

    answers = [await api.post("/v1/recoveries", name) for name in names]
    assert {answer.headers["Content-Length"] for answer in answers} == {"0"}

    assert {(answer.status_code, answer.content) for answer in answers} == {(202, b"")}
    assert {tuple(sorted(answer.headers.keys())) for answer in answers} == {
        tuple(sorted(answers[0].headers.keys()))
    }
    assert [mail.recipient for mail in await sent_mails(service)] == [ADDRESS]
    assert await fetch_values(service.engine, "SELECT 1 FROM mail_requests") == []


async def test_recover_twice_ends_the_first_token_and_a_new_password_the_second(
    api: Api, service: Services
) -> None:
    ada = await account_with_address(api)
    tokens = []
    for _ in range(2):
        await api.post("/v1/recoveries", {"login_id": "ada"})
        tokens += [mail.token for mail in await sent_mails(service)]
    assert error_of(await redeem(api, tokens[0])) == (401, "invalid_token")
    body = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
    assert (await api.by(ada).put("/v1/users/me/password", body)).status_code == 204
    assert error_of(await redeem(api, tokens[1])) == (401, "invalid_token")


async def test_recover_after_twenty_minutes_is_too_late(api: Api, service: Services) -> None:
    await account_with_address(api)
    await api.post("/v1/recoveries", {"login_id": "ada"})
    (mail,) = await sent_mails(service)
    ((ttl,),) = await fetch_values(
        service.engine, "SELECT extract(epoch FROM expires_at - created_at)::int FROM reset_tokens"
    )
    assert ttl == 20 * 60
    await execute(service.engine, AGE.format(table="reset_tokens"))
    assert error_of(await redeem(api, mail.token)) == (401, "invalid_token")


async def test_change_of_address_ends_a_token_mailed_to_the_old_one(api: Api, service: Services) -> None:
    ada = await account_with_address(api)
    await api.post("/v1/recoveries", {"login_id": "ada"})
    (mail,) = await sent_mails(service)
    key = api.by(await api.key(Scope.USERS_WRITE))
    await key.patch(f"/v1/users/{ada.id}", {"email": "new@example.org", "email_verified": True})
    assert error_of(await redeem(api, mail.token)) == (401, "invalid_token")


@pytest.mark.parametrize("body", [{}, {"login_id": "ada", "email": ADDRESS}, {"login_id": 1}, {"x": "y"}])
@pytest.mark.parametrize("path", ["/v1/recoveries", "/v1/login-codes"])
async def test_call_with_another_body_gets_422(api: Api, path: str, body: dict[str, Any]) -> None:
    assert error_of(await api.post(path, body)) == (422, "validation_failed")


async def test_request_mail_too_often_for_a_name_gets_429_whether_or_not_it_has_a_user(
    api: Api, service: Services
) -> None:
    await account_with_address(api)
    for name in ("ada", "nobody"):
        for _ in range(5):
            assert (await api.post("/v1/recoveries", {"login_id": name})).status_code == 202
        refused = await api.post("/v1/recoveries", {"login_id": name.upper()})
        assert error_of(refused) == (429, "mail_throttled")
        assert 3500 <= int(refused.headers["Retry-After"]) <= 3600
    assert len(await sent_mails(service)) == 5
    await execute(service.engine, "UPDATE mail_counts SET hour_started_at = now() - interval '1 hour'")
    assert (await api.post("/v1/recoveries", {"login_id": "ada"})).status_code == 202


async def test_request_mail_too_often_from_a_network_gets_429(api: Api) -> None:
    statuses = [
        (await api.post("/v1/recoveries", {"login_id": f"user{number}"})).status_code for number in range(31)
    ]
    assert statuses == [202] * 30 + [429]


@pytest.mark.parametrize(
    ("limit", "inside", "outside"),
    [
        (120, "2001:db8:1:2{:x}::1", "2001:db8:1:300::1"),
        (480, "2001:db8:1:{:x}00::1", "2001:db8:2::1"),
        (480, "203.0.113.{}", "203.0.114.1"),
    ],
)
async def test_request_mail_too_often_from_the_networks_around_gets_429(
    service: Services, at: At, limit: int, inside: str, outside: str
) -> None:
    """A provider hands out a /56 or a /48: 256 or 65 536 networks, each with limits of its own."""

    async def ask(place: int, name: str) -> int:
        response = await at(inside.format(place)).post("/v1/recoveries", {"login_id": name})
        return response.status_code

    assert await ask(16, "first") == 202
    await execute(service.engine, "UPDATE mail_counts SET requests = :count", count=limit - 1)
    assert [await ask(17, "last"), await ask(18, "next")] == [202, 429]
    elsewhere = await at(outside).post("/v1/recoveries", {"login_id": "next"})
    assert elsewhere.status_code == 202


async def test_no_table_holds_a_token_of_a_mail(api: Api, service: Services) -> None:
    await account_with_address(api)
    await api.post("/v1/recoveries", {"login_id": "ada"})
    (mail,) = await sent_mails(service)
    secret = mail.token.removeprefix("rcr_")
    for table in ("outbox", "reset_tokens", "mail_requests", "events"):
        rows = await fetch_values(service.engine, f"SELECT {table}::text FROM {table}")
        assert secret not in str(rows)


async def test_mail_with_a_forged_host_links_to_the_configured_page_alone(
    api: Api, service: Services
) -> None:
    await account_with_address(api)
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
    asked = await api.request("POST", "/v1/recoveries", json={"login_id": "ada"}, headers=headers)
    assert asked.status_code == 202
    (mail,) = await sent_mails(service)
    assert "evil" not in mail.text
