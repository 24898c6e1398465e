"""The audit trail and its log: who did what to whom, by ids only, in the same transaction."""

from contextlib import suppress
from typing import Any

import pytest
import structlog
from rollcall_testkit.passkeys import SoftwarePasskey

from service.domain.callers import OPERATOR
from service.domain.events import Action, AuditContext
from service.domain.keys import Scope
from service.services import Services
from service.usecases.users import grant_admin
from tests.flows.conftest import At
from tests.support.api import OTHER_PASSWORD, PASSWORD, Api
from tests.support.databases import execute, fetch_values
from tests.support.factors import PASSKEYS, RECOVERY_CODES, TOTP, add_passkey, enroll_totp
from tests.support.second_factors import answer, ask, enroll, log_in_by_passkey

IP = "198.51.100.7"


async def run_every_action(api: Api, at: At, service: Services) -> dict[str, str]:
    """Do every audited action; return the ids of the users involved."""
    root = await api.admin()
    admin = at(IP).by(root)
    made = await admin.post("/v1/users", {"login_id": "canary-login", "name": "Canary", "password": PASSWORD})
    ada = made.json()["id"]
    path = f"/v1/users/{ada}"
    await at(IP).log_in("canary-login", OTHER_PASSWORD)
    tokens = [(await at(IP).log_in("canary-login")).json()["token"] for _ in range(2)]
    session = at(IP).by(tokens[0])
    wrong = {"current_password": OTHER_PASSWORD, "new_password": "a phrase nobody uses twice"}
    await session.put("/v1/users/me/password", wrong)
    right = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
    await session.put("/v1/users/me/password", right)
    await change_factors(session, admin, path)
    session = at(IP).by((await at(IP).log_in("canary-login", OTHER_PASSWORD)).json()["token"])
    devices = (await session.get("/v1/users/me/devices")).json()["items"]
    await session.delete(f"/v1/users/me/devices/{devices[0]['id']}")
    await session.delete("/v1/sessions/current")
    await admin.put(f"{path}/password", {"new_password": PASSWORD})
    reset = (await admin.post(f"{path}/reset-tokens")).json()["token"]
    redeemed = {"token": reset, "new_password": OTHER_PASSWORD}
    await at(IP).post("/v1/reset-tokens/redeem", redeemed)
    await admin.delete(f"{path}/sessions")
    for change in ({"name": "C"}, {"role": "admin"}, {"state": "disabled"}, {"state": "active"}):
        await admin.patch(path, change)
    await admin.patch(path, {"email": "canary@example.org"})
    await admin.patch(path, {"email": "canary@example.org", "email_verified": True})
    key = (await admin.post("/v1/keys", {"name": "gateway", "scopes": ["users:read"]})).json()
    await admin.delete(f"/v1/keys/{key['api_key']['id']}")
    await admin.delete(path)
    return {"root": str(root.id), "ada": ada}


async def change_factors(session: Api, admin: Api, path: str) -> None:
    """Do every audited change of second factors; the last one ends the session."""
    await enroll_totp(session)
    passkey = (await add_passkey(session, name="Canary ring")).json()
    await session.patch(f"{PASSKEYS}/{passkey['id']}", {"name": "Canary key"})
    await session.post(RECOVERY_CODES)
    await session.delete(TOTP)
    await session.delete(f"{PASSKEYS}/{passkey['id']}")
    await admin.delete(f"{path}/factors")


EXPECTED = [
    ("user.created", "root", "ada"), ("login.failed", None, "ada"), ("login.succeeded", None, "ada"),
    ("login.succeeded", None, "ada"), ("password.rejected", "ada", "ada"), ("password.changed", "ada", "ada"),
    ("totp.enrolled", "ada", "ada"), ("passkey.added", "ada", "ada"), ("passkey.renamed", "ada", "ada"),
    ("recovery_codes.created", "ada", "ada"), ("totp.removed", "ada", "ada"),
    ("passkey.removed", "ada", "ada"),
    ("factors.removed", "root", "ada"), ("login.succeeded", None, "ada"), ("device.forgotten", "ada", "ada"),
    ("session.ended", "ada", "ada"), ("password.set", "root", "ada"), ("reset_token.created", "root", "ada"),
    ("password.reset", None, "ada"), ("sessions.ended", "root", "ada"), ("user.updated", "root", "ada"),
    ("user.role_changed", "root", "ada"), ("user.disabled", "root", "ada"), ("user.enabled", "root", "ada"),
    ("email.changed", "root", "ada"), ("email.verified", "root", "ada"),
    ("key.created", "root", "key"), ("key.revoked", "root", "key"), ("user.deleted", "root", "ada"),
]  # fmt: skip
OF_FACTORS_IN_USE = {
    Action.LOGIN_CHALLENGED,
    Action.FACTOR_REJECTED,
    Action.RECOVERY_CODE_USED,
    Action.PASSKEY_COUNTER_REGRESSED,
    Action.SESSION_STEPPED_UP,
}
OVER_HTTP = set(Action) - {Action.USERS_EXPORTED, Action.SIGNING_KEY_ROTATED} - OF_FACTORS_IN_USE
"""The command line alone exports users, and time alone rotates signing keys."""


async def test_every_audited_action_is_stored_with_ids_only(api: Api, at: At, service: Services) -> None:
    ids = await run_every_action(api, at, service)
    names = {id_: name for name, id_ in ids.items()}
    admin = api.by((await api.log_in("root")).json()["token"])
    items: list[dict[str, Any]] = (await admin.get("/v1/events?limit=100")).json()["items"][1:][::-1]
    actions = [
        (item["action"], names.get(item["actor_id"]), names.get(item["subject_id"], "key")) for item in items
    ]
    assert actions == EXPECTED
    assert {action for action, _, _ in EXPECTED} == OVER_HTTP
    assert {item["ip"] for item in items} == {IP}
    assert {item["actor_kind"] for item in items} == {"anonymous", "user"}
    assert len({item["request_id"] for item in items}) == len(items)
    assert all(item["at"].endswith("Z") for item in items)
    rows = await fetch_values(service.engine, "SELECT e::text FROM events e")
    assert not any("canary" in str(row).lower() for row in rows)


async def test_every_audited_action_is_logged_after_its_commit(api: Api, at: At, service: Services) -> None:
    """Source: OWASP ASVS 5.0 16.2.1, 16.3.1, 16.3.2."""
    with structlog.testing.capture_logs() as records:
        ids = await run_every_action(api, at, service)
        await at("203.0.113.1").log_in("nobody", PASSWORD)
        for _ in range(6):
            await at("203.0.113.1").log_in("canary-nobody", PASSWORD)
    events = {action.value for action in OVER_HTTP} | {"login.throttled"}
    audit = [record for record in records if record["event"] in events]
    assert {record["event"] for record in audit} == events
    assert all(record["network"] and record["request_id"] for record in audit)
    by_event = {record["event"]: record for record in audit}
    assert by_event["login.succeeded"]["subject_id"] == ids["ada"]
    assert by_event["session.ended"]["session_id"] in {
        record["session_id"] for record in audit if record["event"] == "login.succeeded"
    }
    assert "canary" not in str(records).lower()
    assert OTHER_PASSWORD not in str(records)


async def test_second_factors_in_use_are_audited(api: Api, service: Services) -> None:
    ada = await enroll(
        api, await api.account("ada"), totp=True, passkey=SoftwarePasskey(), recovery_codes=True
    )
    code, session = ada.recovery_codes[0], api.by(ada.account)
    with structlog.testing.capture_logs() as records:
        await answer(api, (await ask(api))["challenge"], totp=ada.wrong_code())
        await answer(api, (await ask(api))["challenge"], recovery_code=code)
        for sign_count in (5, 1):
            assert ada.passkey is not None
            ada.passkey.sign_count = sign_count
            await log_in_by_passkey(api, ada)
        for totp in (ada.wrong_code(), ada.code()):
            await session.post("/v1/sessions/current/step-up", {"totp": totp})
    own = await fetch_values(
        service.engine, "SELECT action, actor_id IS NOT NULL FROM events ORDER BY at, id"
    )
    expected = [
        ("login.challenged", False), ("login.failed", False), ("login.challenged", False),
        ("recovery_code.used", False), ("login.succeeded", False), ("login.succeeded", False),
        ("passkey.counter_regressed", False), ("login.succeeded", False), ("factor.rejected", True),
        ("session.stepped_up", True),
    ]  # fmt: skip
    assert sorted(own) == sorted(expected)  # those of one transaction have one time
    assert await fetch_values(service.engine, "SELECT DISTINCT subject_id FROM events") == [(ada.account.id,)]
    logged = [record["event"] for record in records if record["event"] in set(Action)]
    assert logged == [action for action, _ in expected]
    assert {action for action, _ in own} - {"login.failed", "login.succeeded"} == OF_FACTORS_IN_USE
    assert code not in str(records)


async def test_failure_to_insert_the_event_rolls_back_the_change(api: Api, service: Services) -> None:
    """The event is in the transaction of the change; neither is logged."""
    admin = api.by(await api.admin())
    ada = await api.account("ada")
    await execute(service.engine, "ALTER TABLE events ADD CONSTRAINT no_events CHECK (false) NOT VALID")
    try:
        with structlog.testing.capture_logs() as records:
            answers = [
                await admin.post("/v1/users", {"login_id": "eve", "name": "E"}),
                await admin.patch(f"/v1/users/{ada.id}", {"role": "admin"}),
                await admin.delete(f"/v1/users/{ada.id}"),
                await api.log_in("ada"),
            ]
    finally:
        await execute(service.engine, "ALTER TABLE events DROP CONSTRAINT no_events")
    assert [answer.status_code for answer in answers] == [500] * 4
    assert await fetch_values(service.engine, "SELECT login_id, role FROM users ORDER BY 1") == [
        ("ada", "user"),
        ("root", "admin"),
    ]
    assert await fetch_values(service.engine, "SELECT count(*) FROM sessions") == [(2,)]
    assert not {record["event"] for record in records} & set(Action)


async def test_rollback_leaves_no_event_and_no_log_record(api: Api, service: Services) -> None:
    ada = await api.account("ada")
    with structlog.testing.capture_logs() as records, suppress(RuntimeError):
        async with service.database.transaction(caller=OPERATOR) as tx:
            await grant_admin(tx, "ada", context=AuditContext(OPERATOR), policies=service.policies)
            raise RuntimeError
    assert await fetch_values(service.engine, "SELECT count(*) FROM events") == [(0,)]
    assert not records
    async with service.database.transaction(caller=OPERATOR) as tx:
        await grant_admin(tx, "ADA", context=AuditContext(OPERATOR), policies=service.policies)
    kinds = await fetch_values(service.engine, "SELECT actor_kind, action, subject_id FROM events")
    assert kinds == [("operator", "user.role_changed", ada.id)]


@pytest.mark.parametrize("scope", [scope for scope in Scope if scope is not Scope.EVENTS_READ])
async def test_list_events_needs_an_admin_or_the_scope(api: Api, scope: Scope) -> None:
    ada = await api.account("ada")
    assert (await api.by(ada).get("/v1/events")).status_code == 403
    assert (await api.by(await api.key(scope)).get("/v1/events")).status_code == 403
