"""Verification, recovery and invitations by mail, end to end."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from service.domain.keys import Scope
from service.services import Services
from tests.flows.conftest import At
from tests.support.api import OTHER_PASSWORD, PASSWORD, Account, Api, error_of, faults_of
from tests.support.databases import execute, fetch_values
from tests.support.mail import sent_mails

ADDRESS = "ada@example.org"
AGE = "UPDATE {table} SET expires_at = now()"


async def account_with_address(api: Api, *, login_id: str = "ada", email: str = ADDRESS) -> Account:
    ada = await api.account(login_id)
    await execute(
        api.service.engine,
        "UPDATE users SET email = :email, email_verified_at = now() WHERE id = :id",
        email=email,
        id=ada.id,
    )
    return ada


async def redeem(api: Api, token: str, password: str = OTHER_PASSWORD) -> Any:
    return await api.post("/v1/reset-tokens/redeem", {"token": token, "new_password": password})


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


async def test_verify_own_address_makes_it_usable(api: Api, service: Services) -> None:
    ada = await api.account()
    own = api.by(ada)
    await own.patch("/v1/users/me", {"email": ADDRESS})
    assert (await own.post("/v1/users/me/email-verification")).status_code == 202
    (mail,) = await sent_mails(service)
    assert (mail.recipient, mail.kind) == (ADDRESS, "verify_email")

    verified = await api.post("/v1/email-verifications/redeem", {"token": mail.token})
    assert verified.status_code == 204
    user = (await own.get("/v1/users/me")).json()
    assert (user["email"], user["pending_email"]) == (ADDRESS, None)
    assert user["email_verified_at"] is not None
    again = await api.post("/v1/email-verifications/redeem", {"token": mail.token})
    assert error_of(again) == (401, "invalid_token")
    assert (await own.post("/v1/users/me/email-verification")).status_code == 202
    assert await sent_mails(service) == []  # nothing is left to verify


async def test_verify_a_new_address_replaces_the_old_one_and_tells_it(api: Api, service: Services) -> None:
    ada = await account_with_address(api)
    await api.by(ada).patch("/v1/users/me", {"email": "new@example.org"})
    assert (await api.by(ada).get("/v1/users/me")).json()["email"] == ADDRESS
    await api.by(ada).post("/v1/users/me/email-verification")
    (mail,) = await sent_mails(service)
    await api.post("/v1/email-verifications/redeem", {"token": mail.token})
    assert (await api.by(ada).get("/v1/users/me")).json()["email"] == "new@example.org"
    (notice,) = await sent_mails(service)
    assert (notice.recipient, notice.kind) == (ADDRESS, "email_changed")


async def test_verify_with_a_bad_token_gets_the_same_401_and_changes_nothing(
    api: Api, service: Services
) -> None:
    ada = await api.account()
    await api.by(ada).patch("/v1/users/me", {"email": ADDRESS})
    await api.by(ada).post("/v1/users/me/email-verification")
    (mail,) = await sent_mails(service)
    await execute(service.engine, AGE.format(table="email_verifications"))
    tokens = (mail.token, "rcv_" + "x" * 43, "rcr_" + mail.token[4:], "", "x" * 5000)
    answers = [
        (await api.post("/v1/email-verifications/redeem", {"token": token})).json() for token in tokens
    ]
    assert {answer["code"] for answer in answers} == {"invalid_token"}
    assert len({str({**answer, "instance": ""}) for answer in answers}) == 1
    assert (await api.by(ada).get("/v1/users/me")).json()["email_verified_at"] is None


async def test_verify_an_address_that_was_changed_meanwhile_gets_401(api: Api, service: Services) -> None:
    ada = await api.account()
    own = api.by(ada)
    await own.patch("/v1/users/me", {"email": ADDRESS})
    await own.post("/v1/users/me/email-verification")
    (mail,) = await sent_mails(service)
    await own.patch("/v1/users/me", {"email": "other@example.org"})
    refused = await api.post("/v1/email-verifications/redeem", {"token": mail.token})
    assert error_of(refused) == (401, "invalid_token")


async def _change_password(_admin: Api, _path: str, ada: Api) -> list[Any]:
    body = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
    return [await ada.put("/v1/users/me/password", body)]


async def _set_password(admin: Api, path: str, _ada: Api) -> list[Any]:
    return [await admin.put(f"{path}/password", {"new_password": OTHER_PASSWORD})]


async def _reset_password(admin: Api, path: str, ada: Api) -> list[Any]:
    made = await admin.post(f"{path}/reset-tokens")
    return [made, await redeem(ada, made.json()["token"])]


async def _end_sessions(_admin: Api, _path: str, ada: Api) -> list[Any]:
    return [await ada.delete("/v1/users/me/sessions?keep=current")]


async def _end_the_session(_admin: Api, _path: str, ada: Api) -> list[Any]:
    listed = await ada.get("/v1/users/me/sessions")
    others = [session["id"] for session in listed.json()["items"] if not session["current"]]
    return [await ada.delete(f"/v1/sessions/{session_id}") for session_id in others]


async def _forget_the_device(_admin: Api, _path: str, ada: Api) -> list[Any]:
    listed = await ada.get("/v1/users/me/devices")
    others = [device["id"] for device in listed.json()["items"] if not device["current"]]
    return [await ada.delete(f"/v1/users/me/devices/{device_id}") for device_id in others]


async def _remove_factors(admin: Api, path: str, _ada: Api) -> list[Any]:
    return [await admin.delete(f"{path}/factors")]


async def _disable_for_a_moment(admin: Api, path: str, _ada: Api) -> list[Any]:
    return [await admin.patch(path, {"state": state}) for state in ("disabled", "active")]


@pytest.mark.parametrize(
    "end",
    [
        _change_password,
        _set_password,
        _reset_password,
        _end_sessions,
        _end_the_session,
        _forget_the_device,
        _remove_factors,
        _disable_for_a_moment,
    ],
    ids=lambda end: end.__name__,
)
async def test_end_of_a_stolen_session_ends_the_address_that_it_has_asked_for(
    api: Api, service: Services, end: Callable[[Api, str, Api], Awaitable[list[Any]]]
) -> None:
    """The link works without a session: it would give the account back to the thief, by a recovery."""
    ada = await account_with_address(api)
    thief, owner = [api.by((await api.log_in("ada")).json()["token"]) for _ in range(2)]
    assert (await thief.patch("/v1/users/me", {"email": "thief@evil.example"})).status_code == 200
    assert (await thief.post("/v1/users/me/email-verification")).status_code == 202
    (token,) = [mail.token for mail in await sent_mails(service) if mail.kind == "verify_email"]
    answers = await end(api.by(await api.admin()), f"/v1/users/{ada.id}", owner)
    assert [answer.is_success for answer in answers] == [True] * max(1, len(answers))
    refused = await api.post("/v1/email-verifications/redeem", {"token": token})
    assert error_of(refused) == (401, "invalid_token")
    addresses = "SELECT email, pending_email FROM users WHERE login_id = 'ada'"
    assert await fetch_values(service.engine, addresses) == [(ADDRESS, None)]


async def test_log_out_keeps_the_address_that_the_session_has_asked_for(api: Api, service: Services) -> None:
    """The link is often opened elsewhere."""
    await account_with_address(api)
    ada = api.by((await api.log_in("ada")).json()["token"])
    await ada.patch("/v1/users/me", {"email": "new@example.org"})
    await ada.post("/v1/users/me/email-verification")
    (mail,) = await sent_mails(service)
    assert (await ada.delete("/v1/sessions/current")).status_code == 204
    assert (await api.post("/v1/email-verifications/redeem", {"token": mail.token})).status_code == 204


async def test_verify_concurrently_succeeds_exactly_once(api: Api, service: Services) -> None:
    ada = await api.account()
    await api.by(ada).patch("/v1/users/me", {"email": ADDRESS})
    await api.by(ada).post("/v1/users/me/email-verification")
    (mail,) = await sent_mails(service)
    body = {"token": mail.token}
    answers = await asyncio.gather(*(api.post("/v1/email-verifications/redeem", body) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [204] + [401] * 7


async def test_verify_an_address_that_another_has_verified_gets_409(api: Api, service: Services) -> None:
    ada, bob = await api.account(), await api.account("bob")
    mails = []
    for account in (ada, bob):
        await api.by(account).patch("/v1/users/me", {"email": ADDRESS})
        await api.by(account).post("/v1/users/me/email-verification")
        mails += await sent_mails(service)
    first, second = [
        await api.post("/v1/email-verifications/redeem", {"token": mail.token}) for mail in mails
    ]
    assert (first.status_code, error_of(second)) == (204, (409, "email_taken"))


async def test_send_verification_too_often_gets_429(api: Api, service: Services) -> None:
    ada = await api.account()
    await api.by(ada).patch("/v1/users/me", {"email": ADDRESS})
    path = "/v1/users/me/email-verification"
    assert [(await api.by(ada).post(path)).status_code for _ in range(6)] == [202] * 5 + [429]
    bob = await api.account("bob")
    await api.by(bob).patch("/v1/users/me", {"email": ADDRESS})
    assert error_of(await api.by(bob).post(path)) == (429, "mail_throttled")  # the same mailbox
    assert len(await sent_mails(service)) == 5


async def test_invite_mails_a_token_that_sets_a_password_and_verifies_the_address(
    api: Api, service: Services
) -> None:
    key = api.by(await api.key(Scope.USERS_WRITE))
    new = {"login_id": "ada", "name": "Ada", "email": ADDRESS, "locale": "ja", "invite": True}
    made = await key.post("/v1/users", new)
    assert made.status_code == 201
    (mail,) = await sent_mails(service)
    assert (mail.recipient, mail.kind, mail.locale) == (ADDRESS, "invitation", "ja")
    assert (await redeem(api, mail.token)).status_code == 204
    assert (await api.log_in("ada", OTHER_PASSWORD)).json()["user"]["email_verified_at"] is not None


async def test_redeem_an_invitation_to_an_address_that_another_has_verified_sets_the_password_alone(
    api: Api, service: Services
) -> None:
    key = api.by(await api.key(Scope.USERS_WRITE))
    await key.post("/v1/users", {"login_id": "ada", "name": "Ada", "email": ADDRESS, "invite": True})
    (invitation,) = await sent_mails(service)
    bob = await api.account("bob")
    await api.by(bob).patch("/v1/users/me", {"email": ADDRESS})
    await api.by(bob).post("/v1/users/me/email-verification")
    (mail,) = await sent_mails(service)
    assert (await api.post("/v1/email-verifications/redeem", {"token": mail.token})).status_code == 204

    assert (await redeem(api, invitation.token)).status_code == 204

    user = (await api.log_in("ada", OTHER_PASSWORD)).json()["user"]
    assert (user["email"], user["email_verified_at"]) == (ADDRESS, None)


async def test_invite_with_a_password_or_without_an_address_names_the_field(api: Api) -> None:
    admin = api.by(await api.admin())
    new = {"login_id": "ada", "name": "Ada", "invite": True}
    assert faults_of(await admin.post("/v1/users", new)) == [("/email", "missing_field")]
    both = new | {"email": ADDRESS, "password": PASSWORD}
    assert faults_of(await admin.post("/v1/users", both)) == [("/invite", "conflicting_fields")]
    taken = await admin.post("/v1/users", new | {"email": ADDRESS, "login_id": "root"})
    assert error_of(taken) == (409, "login_id_taken")


async def test_rolled_back_creation_sends_no_invitation(api: Api, service: Services) -> None:
    admin = api.by(await api.admin())
    new = {"login_id": "root", "name": "Ada", "email": ADDRESS, "invite": True}
    assert error_of(await admin.post("/v1/users", new)) == (409, "login_id_taken")
    assert await sent_mails(service) == []


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
