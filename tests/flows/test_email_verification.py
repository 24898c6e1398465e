"""Addresses that a mailed token verifies."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from service.services import Services
from tests.flows.recovering import ADDRESS, AGE, account_with_address, redeem
from tests.support.api import OTHER_PASSWORD, PASSWORD, Api, error_of
from tests.support.databases import execute, fetch_values
from tests.support.mail import sent_mails


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
