"""Details of accounts over HTTP: e-mail, language, external id, metadata."""

import json
from typing import Any

import pytest

from service.domain.keys import Scope
from service.services import Services
from tests.flows.recovering import redeem
from tests.support.api import PASSWORD, Api, error_of, faults_of
from tests.support.databases import execute, fetch_values
from tests.support.mail import sent_mails

NEW = {"login_id": "grace", "name": "Grace", "password": PASSWORD}
DETAILS = {
    "email": "Grace@Example.org",
    "email_verified": True,
    "locale": "DE-at",
    "external_id": "crm-4711",
    "metadata": {"plan": "pro", "seats": 3},
}


async def test_create_user_with_details_returns_them_in_canonical_form(api: Api) -> None:
    key = api.by(await api.key(Scope.USERS_WRITE))
    made = (await key.post("/v1/users", NEW | DETAILS)).json()
    assert made["email"] == "grace@example.org"
    assert made["email_verified_at"] == made["created_at"]
    assert (made["locale"], made["external_id"]) == ("de-AT", "crm-4711")
    assert made["metadata"] == {"plan": "pro", "seats": 3}


async def test_create_user_whose_login_id_is_an_address_has_it_unverified(api: Api) -> None:
    admin = api.by(await api.admin())
    made = (await admin.post("/v1/users", NEW | {"login_id": "Grace@example.org"})).json()
    assert (made["email"], made["email_verified_at"]) == ("grace@example.org", None)
    other = (await admin.post("/v1/users", NEW | {"login_id": "o'brien@x"})).json()
    assert other["email"] is None


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"email": "nobody"}, ("/email", "invalid_value")),
        ({"email": "mıke@example.org"}, ("/email", "invalid_value")),
        ({"locale": "german"}, ("/locale", "invalid_value")),
        ({"external_id": "a\nb"}, ("/external_id", "invalid_value")),
        ({"email_verified": True}, ("/email_verified", "conflicting_fields")),
        ({"metadata": {"a": "x" * 8200}}, ("/metadata", "too_large")),
        ({"metadata": []}, ("/metadata", "wrong_type")),
        ({"metadata": {"a": "\0"}}, ("/metadata", "invalid_value")),
        ({"metadata": {"a": [{"\0": 1}]}}, ("/metadata", "invalid_value")),
    ],
)
async def test_create_and_update_with_a_wrong_detail_name_the_field(
    api: Api, fields: dict[str, Any], fault: tuple[str, str]
) -> None:
    root = await api.admin()
    admin, ada = api.by(root), await api.account()
    new = {"login_id": "grace", "name": "Grace", **fields}
    assert faults_of(await admin.post("/v1/users", new)) == [fault]
    assert faults_of(await admin.patch(f"/v1/users/{ada.id}", fields)) == [fault]


async def test_update_metadata_merges_them(api: Api) -> None:
    admin, ada = api.by(await api.admin()), await api.account()
    path = f"/v1/users/{ada.id}"
    await admin.patch(path, {"metadata": {"a": 1, "b": {"c": 2, "d": 3}}})
    patched = await admin.patch(path, {"metadata": {"a": None, "b": {"c": 4}, "e": [None]}})
    assert patched.json()["metadata"] == {"b": {"c": 4, "d": 3}, "e": [None]}
    await admin.patch(path, {"metadata": {"x": "x" * 5000}})
    assert faults_of(await admin.patch(path, {"metadata": {"y": "y" * 5000}})) == [("/metadata", "too_large")]


async def test_update_detail_to_null_clears_it_and_leaves_the_others(api: Api) -> None:
    admin = api.by(await api.admin())
    path = (await admin.post("/v1/users", NEW | DETAILS)).headers["Location"]
    patched = (await admin.patch(path, {"external_id": None})).json()
    assert (patched["external_id"], patched["locale"], patched["email"]) == (
        None,
        "de-AT",
        "grace@example.org",
    )
    patched = (await admin.patch(path, {"email": None, "locale": None})).json()
    assert (patched["email"], patched["email_verified_at"], patched["locale"]) == (None, None, None)


async def test_update_own_details_is_granted_for_language_and_address_only(api: Api) -> None:
    ada = await api.account()
    own = api.by(ada)
    patched = (await own.patch("/v1/users/me", {"locale": "fr", "email": "ada@example.org"})).json()
    assert (patched["locale"], patched["email"], patched["pending_email"]) == ("fr", None, "ada@example.org")
    for field, value in {"external_id": "x", "metadata": {}, "email_verified": True}.items():
        refused = await own.patch("/v1/users/me", {field: value, "email": "eve@example.org"})
        assert error_of(refused) == (403, "forbidden")
    assert (await own.get("/v1/users/me")).json()["pending_email"] == "ada@example.org"


async def test_update_own_address_needs_a_recent_login(api: Api, service: Services) -> None:
    ada = await api.account()
    await execute(service.engine, "UPDATE sessions SET created_at = now() - interval '11 min'")
    refused = await api.by(ada).patch("/v1/users/me", {"email": "ada@example.org"})
    assert error_of(refused) == (403, "reauthentication_required")
    assert (await api.by(ada).patch("/v1/users/me", {"locale": "fr"})).status_code == 200


async def test_update_to_a_verified_address_of_another_gets_409(api: Api) -> None:
    admin, ada = api.by(await api.admin()), await api.account()
    await admin.post("/v1/users", NEW | DETAILS)
    taken = {"email": "grace@example.org"}
    assert (await admin.patch(f"/v1/users/{ada.id}", taken)).status_code == 200  # a claim takes nothing
    refused = await admin.patch(f"/v1/users/{ada.id}", taken | {"email_verified": True})
    assert error_of(refused) == (409, "email_taken")
    refused = await admin.post("/v1/users", NEW | DETAILS | {"login_id": "x", "external_id": "y"})
    assert error_of(refused) == (409, "email_taken")


async def test_create_and_update_with_a_taken_external_id_get_409(api: Api) -> None:
    admin, ada = api.by(await api.admin()), await api.account()
    await admin.post("/v1/users", NEW | DETAILS)
    taken = {"external_id": "crm-4711"}
    assert error_of(await admin.patch(f"/v1/users/{ada.id}", taken)) == (409, "external_id_taken")
    refused = await admin.post("/v1/users", {"login_id": "x", "name": "X", **taken})
    assert error_of(refused) == (409, "external_id_taken")


async def test_list_users_by_address_or_external_id_is_exact(api: Api) -> None:
    admin = api.by(await api.admin())
    await admin.post("/v1/users", NEW | DETAILS)
    for query, expected in {
        "email=GRACE@example.org": ["grace"],
        "email=grace@example.or": [],
        "external_id=crm-4711": ["grace"],
        "external_id=crm": [],
        "external_id=crm-4711&email=grace@example.org&sort=-created_at": ["grace"],
    }.items():
        found = await admin.get(f"/v1/users?{query}")
        assert (query, [user["login_id"] for user in found.json()["items"]]) == (query, expected)
    assert error_of(await admin.get("/v1/users?email=nobody")) == (422, "validation_failed")


@pytest.mark.parametrize(
    ("column", "condition", "index"),
    [
        ("email", "email_verified_at IS NOT NULL", "uq_users_email"),
        ("email", "email_verified_at IS NULL", "ix_users_email_unverified"),
        ("external_id", "true", "uq_users_external_id_present"),
    ],
)
async def test_list_users_by_detail_reads_an_index(
    api: Api, service: Services, column: str, condition: str, index: str
) -> None:
    await execute(
        service.engine,
        "INSERT INTO users (id, login_id, name, email, external_id) SELECT gen_random_uuid(), 'user' || n,"
        " 'User', 'user' || n || '@example.org', 'x' || n FROM generate_series(1, 5000) n",
    )
    await execute(service.engine, "ANALYZE users")
    ((plan,),) = await fetch_values(
        service.engine,
        f"EXPLAIN (FORMAT JSON) SELECT id FROM users WHERE {column} = 'x7' AND {condition}"
        " ORDER BY created_at, id LIMIT 51",
    )
    assert "Seq Scan" not in json.dumps(plan)
    assert index in json.dumps(plan)


async def test_replace_a_verified_address_tells_the_old_one(api: Api, service: Services) -> None:
    admin = api.by(await api.admin())
    path = (await admin.post("/v1/users", NEW | DETAILS)).headers["Location"]
    changed = (await admin.patch(path, {"email": "new@example.net"})).json()
    assert (changed["email"], changed["email_verified_at"]) == ("new@example.net", None)
    (mail,) = await sent_mails(service)
    assert (mail.recipient, mail.kind, mail.locale) == ("grace@example.org", "email_changed", "de")
    assert "n…@example.net" in mail.text
    assert "new@example.net" not in mail.text


async def test_update_to_the_same_address_keeps_it_verified(api: Api, service: Services) -> None:
    admin = api.by(await api.admin())
    made = await admin.post("/v1/users", NEW | DETAILS)
    kept = (await admin.patch(made.headers["Location"], {"email": "Grace@example.org"})).json()
    assert kept["email_verified_at"] is not None
    assert await sent_mails(service) == []


async def test_update_to_the_same_address_keeps_the_time_at_which_it_was_verified(
    api: Api, service: Services
) -> None:
    """A nightly synchronization sends what is there already."""
    admin = api.by(await api.admin())
    made = await admin.post("/v1/users", NEW | DETAILS)
    for fields in ({"email": "grace@example.org"}, {"email": "grace@example.org", "email_verified": True}):
        kept = (await admin.patch(made.headers["Location"], fields)).json()
        assert kept["email_verified_at"] == made.json()["email_verified_at"]


async def test_update_to_the_same_address_as_unverified_ends_what_was_mailed_to_it(
    api: Api, service: Services
) -> None:
    admin = api.by(await api.admin())
    path = (await admin.post("/v1/users", NEW | DETAILS)).headers["Location"]
    await api.post("/v1/recoveries", {"login_id": "grace"})
    (mail,) = await sent_mails(service)
    bounced = {"email": "grace@example.org", "email_verified": False}
    changed = (await admin.patch(path, bounced)).json()
    assert (changed["email"], changed["email_verified_at"]) == ("grace@example.org", None)
    refused = await redeem(api, mail.token)
    assert error_of(refused) == (401, "invalid_token")
    await api.post("/v1/recoveries", {"login_id": "grace"})
    assert await sent_mails(service) == []
