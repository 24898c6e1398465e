"""Passwords over HTTP: changed, set, reset."""

import asyncio
from typing import Any

import pytest

from service.domain.keys import Scope
from service.domain.users import UserRole
from tests.support.api import OTHER_PASSWORD, PASSWORD, Api, error_of, faults_of
from tests.support.databases import execute, fingerprint

NOBODY = "0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e"
OWN = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
NEW = {"new_password": OTHER_PASSWORD}


async def test_change_own_password_ends_the_other_sessions(api: Api) -> None:
    ada = await api.account("ada")
    other = (await api.log_in("ada")).json()["token"]

    assert (await api.by(ada).put("/v1/users/me/password", OWN)).status_code == 204

    assert (await api.by(ada).get("/v1/users/me")).status_code == 200
    assert error_of(await api.by(other).get("/v1/users/me")) == (401, "invalid_token")
    assert error_of(await api.log_in("ada")) == (401, "invalid_credentials")
    assert (await api.log_in("ada", OTHER_PASSWORD)).status_code == 201


async def test_change_own_password_with_a_wrong_current_one_changes_nothing(api: Api) -> None:
    ada = await api.account("ada")
    before = await fingerprint(api.service.engine)

    refused = await api.by(ada).put("/v1/users/me/password", {**OWN, "current_password": "x" * 20})

    assert faults_of(refused) == [("/current_password", "wrong_password")]
    assert await fingerprint(api.service.engine) == before


async def test_change_own_password_wrongly_again_and_again_is_throttled(api: Api) -> None:
    ada = await api.account("ada")
    wrong = {**OWN, "current_password": "x" * 20}

    answers = [await api.by(ada).put("/v1/users/me/password", wrong) for _ in range(8)]

    assert {answer.status_code for answer in answers[:5]} == {422}
    assert error_of(answers[-1]) == (429, "login_throttled")
    assert error_of(await api.by(ada).put("/v1/users/me/password", OWN)) == (
        429,
        "login_throttled",
    )


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (NEW, ("/current_password", "missing_field")),
        ({**OWN, "must_change": False}, ("/must_change", "not_settable")),
        ({**OWN, "new_password": "otter"}, ("/new_password", "password_too_short")),
        ({"current_password": PASSWORD}, ("/new_password", "missing_field")),
        ({**OWN, "password": PASSWORD}, ("/password", "unknown_field")),
    ],
)
async def test_change_own_password_with_a_bad_body_names_the_error(
    api: Api, body: dict[str, Any], fault: tuple[str, str]
) -> None:
    ada = await api.account("ada")

    assert fault in faults_of(await api.by(ada).put("/v1/users/me/password", body))
    assert (await api.log_in("ada")).status_code == 201


async def test_set_password_of_another_ends_all_sessions_and_has_to_be_changed(api: Api) -> None:
    ada = await api.account("ada")
    admin = api.by(await api.admin())

    assert (await admin.put(f"/v1/users/{ada.id}/password", NEW)).status_code == 204

    assert error_of(await api.by(ada).get("/v1/users/me")) == (401, "invalid_token")
    token = (await api.log_in("ada", OTHER_PASSWORD)).json()["token"]
    assert error_of(await api.by(token).get("/v1/users/me")) == (403, "password_change_required")


async def test_set_password_of_another_without_must_change_is_final(api: Api) -> None:
    ada = await api.account("ada")
    admin = api.by(await api.admin())

    body = {**NEW, "must_change": False}
    assert (await admin.put(f"/v1/users/{ada.id}/password", body)).status_code == 204

    token = (await api.log_in("ada", OTHER_PASSWORD)).json()["token"]
    assert (await api.by(token).get("/v1/users/me")).status_code == 200


async def test_set_password_of_another_takes_no_current_one(api: Api) -> None:
    ada = await api.account("ada")
    admin = api.by(await api.admin())

    refused = await admin.put(f"/v1/users/{ada.id}/password", OWN)

    assert faults_of(refused) == [("/current_password", "not_settable")]
    assert error_of(await admin.put(f"/v1/users/{NOBODY}/password", NEW)) == (404, "not_found")


async def test_set_password_of_another_by_a_plain_user_is_rejected(api: Api) -> None:
    ada, bob = await api.account("ada"), await api.account("bob")

    assert error_of(await api.by(bob).put(f"/v1/users/{ada.id}/password", NEW)) == (
        404,
        "not_found",
    )
    assert (await api.log_in("ada")).status_code == 201


async def test_set_password_of_another_with_the_own_to_change_is_rejected(api: Api) -> None:
    ada = await api.account("ada")
    root = await api.account("root", role=UserRole.ADMIN, must_change=True)

    refused = await api.by(root).put(f"/v1/users/{ada.id}/password", NEW)

    assert error_of(refused) == (403, "password_change_required")
    assert (await api.by(root).put("/v1/users/me/password", OWN)).status_code == 204
    assert (await api.by(root).put(f"/v1/users/{ada.id}/password", NEW)).status_code == 204


async def reset_token(api: Api, user_id: object) -> str:
    created = await api.by(await api.key(Scope.USERS_WRITE)).post(f"/v1/users/{user_id}/reset-tokens")
    assert created.status_code == 201
    token: str = created.json()["token"]
    return token


async def redeem(api: Api, token: str) -> Any:
    return await api.post("/v1/reset-tokens/redeem", {"token": token, "new_password": OTHER_PASSWORD})


async def test_redeem_reset_token_sets_the_password_once(api: Api) -> None:
    ada = await api.account("ada", must_change=True)
    token = await reset_token(api, ada.id)

    answers = await asyncio.gather(*(redeem(api, token) for _ in range(5)))

    assert sorted(answer.status_code for answer in answers) == [204, 401, 401, 401, 401]
    assert token.startswith("rcr_")
    assert error_of(await api.by(ada).get("/v1/users/me")) == (401, "invalid_token")
    fresh = (await api.log_in("ada", OTHER_PASSWORD)).json()["token"]
    assert (await api.by(fresh).get("/v1/users/me")).status_code == 200


async def test_redeem_a_bad_reset_token_fails_in_one_way(api: Api) -> None:
    ada = await api.account("ada")
    replaced = await reset_token(api, ada.id)
    expired = await reset_token(api, ada.id)
    await execute(api.service.engine, "UPDATE reset_tokens SET expires_at = now()")

    answers = [await redeem(api, token) for token in (replaced, expired, "rcr_" + "A" * 43, "x", "", "\x00")]

    assert {error_of(answer) for answer in answers} == {(401, "invalid_token")}
    assert len({str({**answer.json(), "instance": ""}) for answer in answers}) == 1
    assert (await api.log_in("ada")).status_code == 201


async def test_redeem_reset_token_after_a_password_change_is_rejected(api: Api) -> None:
    ada = await api.account("ada")
    token = await reset_token(api, ada.id)

    assert (await api.by(ada).put("/v1/users/me/password", OWN)).status_code == 204

    assert error_of(await redeem(api, token)) == (401, "invalid_token")


async def test_redeem_reset_token_with_a_rejected_password_keeps_the_token(api: Api) -> None:
    ada = await api.account("ada")
    token = await reset_token(api, ada.id)

    refused = await api.post("/v1/reset-tokens/redeem", {"token": token, "new_password": "otter"})

    assert faults_of(refused) == [("/new_password", "password_too_short")]
    assert (await redeem(api, token)).status_code == 204


async def test_create_reset_token_for_nobody_is_rejected(api: Api) -> None:
    admin = api.by(await api.admin())

    assert error_of(await admin.post(f"/v1/users/{NOBODY}/reset-tokens")) == (404, "not_found")
