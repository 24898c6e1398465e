"""Setting, changing and resetting passwords over HTTP."""

import httpx
import pytest

from service.domain.keys import Scope
from service.security.blocklist import common_passwords
from service.services import Services
from tests.support.api import OTHER_PASSWORD, PASSWORD, Account, Api
from tests.support.databases import execute

THIRD_PASSWORD = "an entirely different phrase"


def codes(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 422, answer.text
    return [error["code"] for error in answer.json()["errors"]]


async def change(
    api: Api, who: Account | str, new: str = OTHER_PASSWORD, current: str = PASSWORD
) -> httpx.Response:
    body = {"current_password": current, "new_password": new}
    return await api.by(who).put("/v1/users/me/password", body)


async def status(api: Api, who: Account | str) -> int:
    return (await api.by(who).get("/v1/users/me")).status_code


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("a7!kd92mcQ_z_4", "password_too_short"),
        ("😀🦊" * 7, "password_too_short"),
        ("xy" * 512 + "z", "password_too_long"),
        ("\U0001f600" * 1024 + "\U0001f600", "password_too_long"),
        ("mauve otter\u0000sings at dawn", "password_invalid_characters"),
        ("mauve otter\nsings at dawn", "password_invalid_characters"),
        ("passwordpassword", "password_blocked"),
        ("123456789ashley", "password_blocked"),
        ("123456789012345", "password_blocked"),
        ("zzzzzzzzzzzzzzzzzz", "password_blocked"),
        ("qwertyuiopasdfghjkl", "password_blocked"),
        ("ada.lovelaceada.lovelace", "password_blocked"),
        ("Lovelace-ada-2026-ada", "password_blocked"),
        ("rollcallrollcall", "password_blocked"),
    ],
)
async def test_set_invalid_password_names_the_rule_and_does_not_echo_it(
    api: Api, password: str, code: str
) -> None:
    admin, ada = api.by(await api.admin()), await api.account("ada.lovelace", name="Ada Lovelace")
    reset = (await admin.post(f"/v1/users/{ada.id}/reset-tokens")).json()["token"]
    answers = [
        await change(api, ada, password),
        await admin.put(f"/v1/users/{ada.id}/password", {"new_password": password}),
        await api.post("/v1/reset-tokens/redeem", {"token": reset, "new_password": password}),
    ]
    registration = {"login_id": "ada.lovelace", "name": "Ada Lovelace", "password": password}
    answers.append(await admin.post("/v1/users", registration))
    for answer in answers:
        assert code in codes(answer)
        assert password not in answer.text
    assert (await api.log_in("ada.lovelace")).status_code == 201


@pytest.mark.parametrize(
    "password",
    ["fifteen chars ok"[:15], "😀" * 7 + "🦊🐙🦦🌅🎶🎹🎺🎻", "xyz!ab" * 10 + "okay", "né " * 341 + "!"],
)
async def test_set_long_password_uses_all_of_it(api: Api, password: str) -> None:
    ada = await api.account("ada")
    assert (await change(api, ada, password)).status_code == 204
    assert (await api.log_in("ada", password[:-1])).status_code == 401
    assert (await api.log_in("ada", password)).status_code == 201


async def test_set_oversized_password_is_not_hashed(api: Api, service: Services) -> None:
    """Source: CVE-2013-1443."""
    ada = await api.account("ada")
    before = service.hasher.stats().done_total
    assert codes(await change(api, ada, "\u0301" * 30_000)) == ["password_too_long"]
    assert service.hasher.stats().done_total == before


def test_blocklist_has_three_thousand_long_enough_passwords() -> None:
    assert sum(len(password) >= 15 for password in common_passwords()) >= 3000


async def test_change_password_ends_other_sessions_and_the_reset_token(api: Api) -> None:
    admin, ada = api.by(await api.admin()), await api.account("ada")
    other = (await api.log_in("ada")).json()["token"]
    reset = (await admin.post(f"/v1/users/{ada.id}/reset-tokens")).json()["token"]
    assert (await change(api, ada)).status_code == 204
    assert (await status(api, ada), await status(api, other)) == (200, 401)
    redeemed = await api.post("/v1/reset-tokens/redeem", {"token": reset, "new_password": THIRD_PASSWORD})
    assert (redeemed.status_code, redeemed.json()["code"]) == (401, "invalid_token")
    assert (await api.log_in("ada")).status_code == 401
    assert (await api.log_in("ada", OTHER_PASSWORD)).status_code == 201


async def test_change_password_with_wrong_current_password_changes_nothing(api: Api) -> None:
    ada = await api.account("ada")
    other = (await api.log_in("ada")).json()["token"]
    assert codes(await change(api, ada, current=THIRD_PASSWORD)) == ["wrong_password"]
    missing = await api.by(ada).put("/v1/users/me/password", {"new_password": OTHER_PASSWORD})
    assert missing.status_code == 422
    assert (await status(api, ada), await status(api, other)) == (200, 200)
    assert (await api.log_in("ada")).status_code == 201


async def log_in_with_forced_change(api: Api) -> str:
    """Set ada's password as an administrator; return the token of her next login."""
    admin, ada = api.by(await api.admin()), await api.account("ada")
    answer = await admin.put(f"/v1/users/{ada.id}/password", {"new_password": OTHER_PASSWORD})
    assert answer.status_code == 204
    assert await status(api, ada) == 401
    return str((await api.log_in("ada", OTHER_PASSWORD)).json()["token"])


async def test_session_with_forced_change_can_only_change_password_or_log_out(api: Api) -> None:
    """Source: OWASP ASVS 5.0 6.4.1, 6.4.6."""
    token = await log_in_with_forced_change(api)
    session = api.by(token)
    attempts = [
        await session.get("/v1/users/me"),
        await session.patch("/v1/users/me", {"name": "Mallory"}),
        await session.delete("/v1/users/me"),
        await session.get("/v1/sessions/current"),
        await session.get("/v1/users/me/sessions"),
        await session.delete("/v1/users/me/sessions"),
        await session.get("/v1/users"),
    ]
    assert [answer.status_code for answer in attempts] == [403] * len(attempts)
    assert {answer.json()["code"] for answer in attempts} == {"password_change_required"}
    key = await api.key(Scope.SESSIONS_INTROSPECT)
    assert (await api.by(key).post("/v1/introspect", {"token": token})).json() == {"active": False}
    assert (await change(api, token, PASSWORD, OTHER_PASSWORD)).status_code == 204
    assert await status(api, token) == 200
    assert (await api.by(key).post("/v1/introspect", {"token": token})).json()["active"]


async def test_change_password_to_the_one_set_by_an_admin_gets_422(api: Api) -> None:
    token = await log_in_with_forced_change(api)
    assert codes(await change(api, token, OTHER_PASSWORD, OTHER_PASSWORD)) == ["password_blocked"]
    assert await status(api, token) == 403
    assert (await api.by(token).delete("/v1/sessions/current")).status_code == 204


async def test_set_password_without_forced_change_leaves_the_user_unrestricted(api: Api) -> None:
    key, ada = await api.key(Scope.USERS_WRITE), await api.account("ada")
    body = {"new_password": OTHER_PASSWORD, "must_change": False}
    assert (await api.by(key).put(f"/v1/users/{ada.id}/password", body)).status_code == 204
    assert await status(api, (await api.log_in("ada", OTHER_PASSWORD)).json()["token"]) == 200


async def test_admin_operation_with_forced_change_gets_403(api: Api) -> None:
    root, other = api.by(await api.admin()), await api.admin("other")
    victim = await api.account("victim")
    body = {"new_password": OTHER_PASSWORD}
    assert (await root.put(f"/v1/users/{other.id}/password", body)).status_code == 204
    due = api.by((await api.log_in("other", OTHER_PASSWORD)).json()["token"])
    set_ = await due.put(f"/v1/users/{victim.id}/password", {"new_password": THIRD_PASSWORD})
    assert (set_.status_code, set_.json()["code"]) == (403, "password_change_required")
    assert (await due.post(f"/v1/users/{victim.id}/reset-tokens")).status_code == 403
    assert await status(api, victim) == 200


CREATE = {"login_id": "grace", "name": "Grace", "password": PASSWORD}


async def is_restricted(api: Api, login_id: str, password: str = PASSWORD) -> bool:
    answer = await api.log_in(login_id, password)
    assert answer.status_code == 201, answer.text
    return await status(api, answer.json()["token"]) == 403


async def hashed(api: Api) -> dict[str, object]:
    return {"login_id": "grace", "name": "Grace", "password_hash": await api.hash(PASSWORD)}


@pytest.mark.parametrize(
    ("wanted", "by_admin", "by_key"), [(None, True, False), (True, True, True), (False, False, False)]
)
async def test_create_user_with_a_password_forces_its_change_by_caller_and_wish(
    api: Api, wanted: bool | None, by_admin: bool, by_key: bool
) -> None:
    """Source: OWASP ASVS 5.0 6.4.1."""
    more = {} if wanted is None else {"must_change": wanted}
    for who, expected in ((await api.admin(), by_admin), (await api.key(Scope.USERS_WRITE), by_key)):
        assert (await api.by(who).post("/v1/users", {**CREATE, **more})).status_code == 201
        assert await is_restricted(api, "grace") is expected
        await execute(api.service.engine, "DELETE FROM users WHERE login_id = 'grace'")


async def test_create_user_with_a_hash_forces_no_change_unless_wanted(api: Api) -> None:
    """The owner has chosen the password, elsewhere."""
    admin = api.by(await api.admin())
    for more, expected in (({}, False), ({"must_change": True}, True)):
        assert (await admin.post("/v1/users", {**await hashed(api), **more})).status_code == 201
        assert await is_restricted(api, "grace") is expected
        await execute(api.service.engine, "DELETE FROM users WHERE login_id = 'grace'")


async def test_set_password_by_key_relays_the_choice_of_the_owner(api: Api) -> None:
    key, ada = api.by(await api.key(Scope.USERS_WRITE)), await api.account("ada")
    path = f"/v1/users/{ada.id}/password"
    assert (await key.put(path, {"new_password": OTHER_PASSWORD})).status_code == 204
    assert not await is_restricted(api, "ada", OTHER_PASSWORD)
    assert (await key.put(path, {"new_password": THIRD_PASSWORD, "must_change": True})).status_code == 204
    assert await is_restricted(api, "ada", THIRD_PASSWORD)


async def age_passwords(api: Api, age: str) -> None:
    aged = "UPDATE users SET password_changed_at = now() - CAST(CAST(:age AS text) AS interval)"
    await execute(api.service.engine, aged, age=age)


@pytest.mark.parametrize(("age", "is_refused"), [("23:59", False), ("24:00", True)])
async def test_password_set_by_another_is_rejected_a_day_later(
    api: Api, service: Services, age: str, is_refused: bool
) -> None:
    """Source: OWASP ASVS 5.0 6.4.1."""
    token = await log_in_with_forced_change(api)
    await age_passwords(api, age)
    before = service.hasher.stats().done_total

    answer = await api.log_in("ada", OTHER_PASSWORD)
    wrong = await api.log_in("ada", THIRD_PASSWORD)

    assert answer.status_code == (401 if is_refused else 201)
    assert wrong.status_code == 401
    assert service.hasher.stats().done_total == before + 2  # the same work
    if is_refused:
        assert {**answer.json(), "instance": ""} == {**wrong.json(), "instance": ""}
        assert codes(await change(api, token, THIRD_PASSWORD, OTHER_PASSWORD)) == ["wrong_password"]
    else:
        assert (await change(api, token, THIRD_PASSWORD, OTHER_PASSWORD)).status_code == 204


async def test_password_of_one_s_own_does_not_end_with_time(api: Api) -> None:
    token = await log_in_with_forced_change(api)
    assert (await change(api, token, THIRD_PASSWORD, OTHER_PASSWORD)).status_code == 204
    await age_passwords(api, "10 years")
    assert (await api.log_in("ada", THIRD_PASSWORD)).status_code == 201


async def test_temporary_password_of_unknown_age_counts_from_the_last_change_of_its_user(api: Api) -> None:
    await api.account("ada", must_change=True)
    await execute(api.service.engine, "UPDATE users SET password_changed_at = NULL")
    assert (await api.log_in("ada")).status_code == 201
    await execute(
        api.service.engine,
        "UPDATE users SET updated_at = now() - interval '25 hours'"
        " FROM (SELECT set_config('rollcall.migrating', 'on', true)) AS trigger_is_off",
    )
    assert (await api.log_in("ada")).status_code == 401
