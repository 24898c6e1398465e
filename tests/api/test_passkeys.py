"""Passkeys of a user: add, list, rename and remove."""

import json
from base64 import b64encode, urlsafe_b64decode
from typing import Any
from uuid import UUID

import pytest
from rollcall_testkit.passkeys import NoPasskey, SoftwarePasskey

from service.domain.factors import PASSKEYS_PER_USER
from service.services import Services
from settings.factors import FactorSettings
from tests.support.api import Api, error_of, faults_of, serving
from tests.support.databases import execute
from tests.support.factors import PASSKEYS, add_passkey, created_passkey
from tests.support.settings import RP_ID, settings_for_tests

OPTIONS = f"{PASSKEYS}/options"
AAGUID = UUID("ee882879-721c-4913-9775-3dfcce97072a")
UNKNOWN = "0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e"


async def factors_of(api: Api) -> Any:
    return (await api.get("/v1/users/me")).json()["factors"]


async def amr_of(api: Api) -> Any:
    session = (await api.get("/v1/sessions/current")).json()["session"]
    return session["amr"], session["assurance"]


async def test_add_passkey_adds_it_and_shows_it(api: Api) -> None:
    ada = api.by(await api.account())
    added = await add_passkey(ada, SoftwarePasskey(is_synced=True, aaguid=AAGUID.bytes), name="Ada's phone")
    assert added.status_code == 201, added.text
    passkey = added.json()
    assert passkey == {
        "id": passkey["id"],
        "name": "Ada's phone",
        "created_at": passkey["created_at"],
        "last_used_at": None,
        "aaguid": str(AAGUID),
        "transports": ["hybrid", "internal"],
        "is_backed_up": True,
    }
    assert added.headers["Location"] == f"{PASSKEYS}/{passkey['id']}"
    assert await factors_of(ada) == ["passkey"]
    assert (await ada.get(PASSKEYS)).json() == {"items": [passkey], "next_cursor": None}


@pytest.mark.parametrize(("is_synced", "key"), [(True, "swk"), (False, "hwk")])
async def test_add_passkey_lets_the_session_count_as_two_factors(api: Api, is_synced: bool, key: str) -> None:
    ada = api.by(await api.account())
    await add_passkey(ada, SoftwarePasskey(is_synced=is_synced))
    assert await amr_of(ada) == (["pwd", key, "user", "mfa"], 2)


async def test_add_passkey_without_a_name_gets_one(api: Api) -> None:
    ada = api.by(await api.account())
    assert (await add_passkey(ada)).json()["name"] == "Passkey"


@pytest.mark.parametrize("name", ["\u200b", "line\nbreak", " ", "x" * 101])
async def test_add_passkey_with_an_invalid_name_is_rejected_and_keeps_the_challenge(
    api: Api, name: str
) -> None:
    ada = api.by(await api.account())
    body = await created_passkey(ada, SoftwarePasskey(), name=name)
    assert [pointer for pointer, _ in faults_of(await ada.post(PASSKEYS, body))] == ["/name"]
    assert (await ada.post(PASSKEYS, {**body, "name": "Phone"})).status_code == 201


async def test_options_ask_for_a_passkey_of_the_user_here(api: Api) -> None:
    account = await api.account("ada@example.org")
    public_key = (await api.by(account).post(OPTIONS)).json()["public_key"]
    assert public_key["rp"] == {"id": RP_ID, "name": "rollcall"}
    assert (public_key["user"]["name"], public_key["user"]["displayName"]) == ("ada@example.org", "Ada")
    assert public_key["excludeCredentials"] == []


async def test_options_name_the_passkeys_that_are_there(api: Api) -> None:
    ada, authenticator = api.by(await api.account()), SoftwarePasskey()
    await add_passkey(ada, authenticator)
    with pytest.raises(NoPasskey):
        await add_passkey(ada, authenticator)


async def test_options_end_those_before(api: Api) -> None:
    ada = api.by(await api.account())
    first = await created_passkey(ada, SoftwarePasskey())
    second = await created_passkey(ada, SoftwarePasskey())
    assert faults_of(await ada.post(PASSKEYS, first)) == [("/challenge_id", "invalid_value")]
    assert (await ada.post(PASSKEYS, second)).status_code == 201


async def test_add_passkey_twice_by_one_challenge_adds_one(api: Api) -> None:
    ada = api.by(await api.account())
    body = await created_passkey(ada, SoftwarePasskey())
    assert (await ada.post(PASSKEYS, body)).status_code == 201
    assert faults_of(await ada.post(PASSKEYS, body)) == [("/challenge_id", "invalid_value")]
    assert len((await ada.get(PASSKEYS)).json()["items"]) == 1


async def test_add_passkey_again_with_the_idempotency_key_gets_the_same_response(api: Api) -> None:
    ada = api.by(await api.account())
    body, headers = await created_passkey(ada, SoftwarePasskey()), {"Idempotency-Key": "one"}
    first = await ada.post(PASSKEYS, body, headers=headers)
    again = await ada.post(PASSKEYS, body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["Idempotent-Replayed"] == "true"


async def test_add_passkey_that_is_not_valid_uses_the_challenge_up(api: Api) -> None:
    ada = api.by(await api.account())
    body = await created_passkey(ada, SoftwarePasskey())
    broken = {**body, "passkey": {**body["passkey"], "response": {}}}
    assert faults_of(await ada.post(PASSKEYS, broken)) == [("/passkey", "invalid_value")]
    assert faults_of(await ada.post(PASSKEYS, body)) == [("/challenge_id", "invalid_value")]
    assert (await factors_of(ada), await amr_of(ada)) == ([], (["pwd"], 1))


async def test_add_passkey_of_a_phishing_page_is_rejected(api: Api) -> None:
    ada = api.by(await api.account())
    options = (await ada.post(OPTIONS)).json()
    created = SoftwarePasskey().create(options["public_key"], "https://login.example.org.evil.example")
    refused = await ada.post(PASSKEYS, {"challenge_id": options["challenge_id"], "passkey": created})
    assert faults_of(refused) == [("/passkey", "invalid_value")]


async def test_add_passkey_by_the_challenge_of_another_user_is_rejected(api: Api) -> None:
    ada, eve = api.by(await api.account()), api.by(await api.account("eve"))
    body = await created_passkey(ada, SoftwarePasskey())
    assert faults_of(await eve.post(PASSKEYS, body)) == [("/challenge_id", "invalid_value")]
    assert (await ada.post(PASSKEYS, body)).status_code == 201


async def test_add_passkey_by_an_expired_challenge_is_rejected(api: Api, service: Services) -> None:
    ada = api.by(await api.account())
    body = await created_passkey(ada, SoftwarePasskey())
    await execute(service.engine, "UPDATE passkey_challenges SET expires_at = now()")
    assert faults_of(await ada.post(PASSKEYS, body)) == [("/challenge_id", "invalid_value")]


async def test_add_passkey_that_is_enrolled_for_another_user_is_rejected(api: Api, service: Services) -> None:
    ada, eve = api.by(await api.account()), api.by(await api.account("eve"))
    body = await created_passkey(ada, SoftwarePasskey())
    assert (await ada.post(PASSKEYS, body)).status_code == 201
    options = (await eve.post(OPTIONS)).json()
    moved = "UPDATE passkey_challenges SET challenge = decode(:challenge, 'base64')"
    data = body["passkey"]["response"]["clientDataJSON"]
    await execute(service.engine, moved, challenge=challenge_in(data))
    taken = await eve.post(PASSKEYS, {**body, "challenge_id": options["challenge_id"]})
    assert faults_of(taken) == [("/passkey", "already_enrolled")]
    assert await factors_of(eve) == []


def challenge_in(client_data: str) -> str:
    """Return the challenge that a client has signed, in the base64 of PostgreSQL."""
    challenge = json.loads(urlsafe_b64decode(f"{client_data}==="))["challenge"]
    return b64encode(urlsafe_b64decode(f"{challenge}===")).decode()


async def test_add_more_passkeys_than_a_user_may_have_is_rejected(api: Api, service: Services) -> None:
    account = await api.account()
    ada = api.by(account)
    body = await created_passkey(ada, SoftwarePasskey())
    others = """
        INSERT INTO passkeys (id, user_id, name, credential_id, public_key, sign_count, aaguid, transports,
                              is_backup_eligible, is_backed_up)
        SELECT gen_random_uuid(), :user_id, 'Old', sha256(n::text::bytea), '', 0, gen_random_uuid(), '{}',
               false, false FROM generate_series(1, :count) n
        """
    await execute(service.engine, others, user_id=account.id, count=PASSKEYS_PER_USER)
    assert faults_of(await ada.post(PASSKEYS, body)) == [("", "too_many")]
    assert faults_of(await ada.post(OPTIONS)) == [("", "too_many")]


async def test_list_passkeys_in_pages_shows_each_once(api: Api) -> None:
    ada = api.by(await api.account())
    made = [(await add_passkey(ada)).json() for _ in range(3)]
    first = (await ada.get(f"{PASSKEYS}?limit=2")).json()
    rest = (await ada.get(f"{PASSKEYS}?limit=2&cursor={first['next_cursor']}")).json()
    assert (first["items"] + rest["items"], rest["next_cursor"]) == (made, None)


async def test_update_passkey_renames_it(api: Api) -> None:
    ada = api.by(await api.account())
    passkey = (await add_passkey(ada)).json()
    renamed = await ada.patch(f"{PASSKEYS}/{passkey['id']}", {"name": "Key ring"})
    assert renamed.json() == {**passkey, "name": "Key ring"}
    refused = await ada.patch(f"{PASSKEYS}/{passkey['id']}", {"name": "\u200b"})
    assert faults_of(refused) == [("/name", "invalid_value")]


async def test_change_passkey_that_has_changed_fails_its_precondition(api: Api) -> None:
    ada = api.by(await api.account())
    added = await add_passkey(ada)
    path, before = f"{PASSKEYS}/{added.json()['id']}", {"If-Match": added.headers["ETag"]}
    renamed = await ada.patch(path, {"name": "Key ring"}, headers=before)
    assert renamed.status_code == 200
    assert error_of(await ada.patch(path, {"name": "X"}, headers=before)) == (412, "precondition_failed")
    assert error_of(await ada.delete(path, headers=before)) == (412, "precondition_failed")
    assert (await ada.delete(path, headers={"If-Match": renamed.headers["ETag"]})).status_code == 204


async def test_remove_passkey_leaves_the_others(api: Api) -> None:
    ada = api.by(await api.account())
    first, second = [(await add_passkey(ada)).json() for _ in range(2)]
    assert (await ada.delete(f"{PASSKEYS}/{first['id']}")).status_code == 204
    assert (await ada.get(PASSKEYS)).json()["items"] == [second]
    assert await factors_of(ada) == ["passkey"]
    assert (await ada.delete(f"{PASSKEYS}/{second['id']}")).status_code == 204
    assert await factors_of(ada) == []


async def test_change_passkey_of_another_user_gets_404(api: Api) -> None:
    """Source: OWASP ASVS 5.0 8.2.2."""
    ada, eve = api.by(await api.account()), api.by(await api.account("eve"))
    passkey = (await add_passkey(ada)).json()
    await add_passkey(eve)
    for id_ in (passkey["id"], UNKNOWN, "me", "options"):
        path = f"{PASSKEYS}/{id_}"
        if id_ != "options":  # the path of another operation
            assert error_of(await eve.patch(path, {"name": "Mine"})) == (404, "not_found")
            assert error_of(await eve.delete(path)) == (404, "not_found")
    assert (await ada.get(PASSKEYS)).json()["items"] == [passkey]


async def test_send_a_challenge_id_with_a_line_break_is_rejected(api: Api) -> None:
    ada = api.by(await api.account())
    body = {"challenge_id": f"{UNKNOWN}\n", "passkey": {}}
    for answer in (
        await ada.post(PASSKEYS, body),
        await api.post("/v1/sessions", body),
        await ada.post("/v1/sessions/current/step-up", body),
    ):
        assert faults_of(answer) == [("/challenge_id", "too_long")]


async def test_passkeys_without_a_domain_cannot_be_added(api: Api, shared_database: str) -> None:
    settings = settings_for_tests(factors=FactorSettings())
    async with serving(settings, shared_database) as running, running.client() as client:
        ada = Api(client, running.service).by(await api.account())
        body = {"challenge_id": UNKNOWN, "passkey": {}}
        assert error_of(await ada.post(OPTIONS)) == (404, "not_found")
        assert error_of(await ada.post(PASSKEYS, body)) == (404, "not_found")
        assert (await ada.get(PASSKEYS)).json()["items"] == []


async def test_change_passkeys_with_an_old_login_gets_403(api: Api, service: Services) -> None:
    """Source: OWASP ASVS 5.0 7.5.1."""
    ada = api.by(await api.account())
    passkey = (await add_passkey(ada)).json()
    await execute(
        service.engine,
        "UPDATE sessions SET created_at = created_at - interval '1 h', "
        "authenticated_at = authenticated_at - interval '10 minutes'",
    )
    path = f"{PASSKEYS}/{passkey['id']}"
    body = {"challenge_id": UNKNOWN, "passkey": {}}
    for answer in (
        await ada.post(OPTIONS),
        await ada.post(PASSKEYS, body),
        await ada.get(PASSKEYS),
        await ada.patch(path, {"name": "X"}),
        await ada.delete(path),
    ):
        assert error_of(answer) == (403, "reauthentication_required")
