"""Entity tags: `If-None-Match` spares a body, `If-Match` keeps a stale change out."""

import asyncio
from typing import Any

import pytest

from service.domain.keys import Scope
from tests.support.api import OTHER_PASSWORD, PASSWORD, Account, Api, error_of
from tests.support.databases import fingerprint

STALE = '"AAAAAAAAAAAAAAAAAAAAAA"'


async def tag_of(api: Api, path: str) -> str:
    return (await api.get(path)).headers["ETag"]


@pytest.mark.parametrize("path", ["/v1/users/me", "/v1/sessions/current"])
@pytest.mark.parametrize(
    ("template", "status"),
    [
        ("{tag}", 304),
        ("W/{tag}", 304),
        ('"other", {tag}', 304),
        ('"other",W/{tag} , "third"', 304),
        (',, "other" ,,{tag},', 304),
        ("*", 304),
        ('"other"', 200),
        ("", 200),
        ("other", 200),
        ('"open', 200),
        ('{tag} "other"', 200),
        ('w/"other"', 200),
        ('"other",', 200),
    ],
)
async def test_read_with_if_none_match_returns_304_only_for_the_current_tag(
    api: Api, path: str, template: str, status: int
) -> None:
    ada = api.by(await api.account("ada"))
    tag = await tag_of(ada, path)

    answer = await ada.get(path, headers={"If-None-Match": template.format(tag=tag)})

    assert answer.status_code == status
    if status == 304:
        assert answer.content == b""
        assert answer.headers["ETag"] == tag


async def readable(api: Api) -> tuple[Api, dict[str, str]]:
    """Return an administrator, and the path of one resource of each kind."""
    admin = api.by(await api.admin())
    made = await admin.post("/v1/keys", {"name": "k", "scopes": ["users:read"]})
    bob = await api.account("bob")
    return admin, {"key": made.headers["Location"], "session": f"/v1/sessions/{bob.session_id}"}


@pytest.mark.parametrize("kind", ["key", "session"])
async def test_read_or_delete_one_by_id_minds_its_tag(api: Api, kind: str) -> None:
    admin, paths = await readable(api)
    tag = await tag_of(admin, paths[kind])

    assert (await admin.get(paths[kind], headers={"If-None-Match": tag})).status_code == 304
    assert (await admin.get(paths[kind], headers={"If-None-Match": STALE})).status_code == 200
    stale = await admin.delete(paths[kind], headers={"If-Match": STALE})
    assert error_of(stale) == (412, "precondition_failed")
    assert (await admin.delete(paths[kind], headers={"If-Match": tag})).status_code == 204
    assert error_of(await admin.get(paths[kind])) == (404, "not_found")


async def test_read_with_two_lines_of_tags_reads_them_as_one_list(api: Api) -> None:
    ada = await api.account("ada")
    tag = await tag_of(api.by(ada), "/v1/users/me")

    for tags in ((tag, '"other"'), ('"other"', tag)):
        headers = [("Authorization", f"Bearer {ada.token}"), *(("If-None-Match", each) for each in tags)]
        assert (await api.client.get("/v1/users/me", headers=headers)).status_code == 304


async def test_read_with_head_and_if_none_match_returns_304_too(api: Api) -> None:
    ada = api.by(await api.account("ada"))
    tag = await tag_of(ada, "/v1/users/me")

    head = await ada.request("HEAD", "/v1/users/me", headers={"If-None-Match": tag})

    assert (head.status_code, head.headers["ETag"]) == (304, tag)


async def test_read_under_the_own_and_the_full_path_has_one_tag(api: Api) -> None:
    ada = await api.account("ada")
    admin = api.by(await api.admin())

    assert await tag_of(api.by(ada), "/v1/users/me") == await tag_of(admin, f"/v1/users/{ada.id}")


@pytest.mark.parametrize(
    ("template", "status"),
    [
        ("{tag}", 200),
        ("*", 200),
        ('"other", {tag}', 200),
        (", ,{tag},", 200),
        ("W/{tag}", 412),
        (STALE, 412),
        ("", 400),
        (",", 400),
        ("{tag", 400),
        ("other", 400),
    ],
)
async def test_update_with_if_match_needs_the_current_strong_tag(
    api: Api, template: str, status: int
) -> None:
    ada = api.by(await api.account("ada"))
    tag = await tag_of(ada, "/v1/users/me")
    before = await fingerprint(api.service.engine)

    answer = await ada.patch(
        "/v1/users/me", {"name": "A"}, headers={"If-Match": template.replace("{tag}", tag)}
    )

    assert answer.status_code == status
    assert (await fingerprint(api.service.engine) == before) == (status != 200)


async def writes(api: Api) -> dict[str, tuple[Api, str, str, Any]]:
    """Give, of every write of something that is there, who makes it, how and where."""
    ada: Account = await api.account("ada")
    bob = await api.account("bob")
    admin, key = api.by(await api.admin()), api.by(await api.key(Scope.USERS_WRITE))
    made = (await admin.post("/v1/keys", {"name": "k", "scopes": ["users:read"]})).json()["api_key"]["id"]
    own = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
    return {
        "own password": (api.by(ada), "PUT", "/v1/users/me/password", own),
        "other's password": (key, "PUT", f"/v1/users/{bob.id}/password", {"new_password": OTHER_PASSWORD}),
        "account": (key, "DELETE", f"/v1/users/{bob.id}", None),
        "own session": (api.by(ada), "DELETE", "/v1/sessions/current", None),
        "session": (admin, "DELETE", f"/v1/sessions/{bob.session_id}", None),
        "sessions": (admin, "DELETE", f"/v1/users/{bob.id}/sessions", None),
        "key": (admin, "DELETE", f"/v1/keys/{made}", None),
    }


@pytest.mark.parametrize(
    "what", ["own password", "other's password", "account", "own session", "session", "sessions", "key"]
)
async def test_write_with_a_stale_tag_changes_nothing(api: Api, what: str) -> None:
    caller, method, path, body = (await writes(api))[what]
    before = await fingerprint(api.service.engine)

    stale = await caller.request(method, path, json=body, headers={"If-Match": STALE})
    broken = await caller.request(method, path, json=body, headers={"If-Match": "x"})

    assert error_of(stale) == (412, "precondition_failed")
    assert error_of(broken) == (400, "malformed_request")
    assert await fingerprint(api.service.engine) == before
    assert (await caller.request(method, path, json=body, headers={"If-Match": "*"})).status_code == 204


async def test_write_of_what_is_not_there_is_404_whatever_the_tag(api: Api) -> None:
    key = api.by(await api.key(Scope.USERS_WRITE))
    path = "/v1/users/0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e"

    for tag in ("*", STALE):
        assert error_of(await key.delete(path, headers={"If-Match": tag})) == (404, "not_found")


async def test_updates_at_once_with_one_tag_make_one_change(api: Api) -> None:
    ada = api.by(await api.account("ada"))
    tag = await tag_of(ada, "/v1/users/me")

    changes = (ada.patch("/v1/users/me", {"name": f"A{n}"}, headers={"If-Match": tag}) for n in range(10))
    statuses = sorted([answer.status_code for answer in await asyncio.gather(*changes)])

    assert statuses == [200, *[412] * 9]


@pytest.mark.parametrize(
    ("second", "error"), [("*", (400, "malformed_request")), ('"other"', (412, "precondition_failed"))]
)
async def test_send_a_condition_twice_is_rejected_instead_of_half_read(
    api: Api, second: str, error: tuple[int, str]
) -> None:
    ada = await api.account("ada")
    headers = [("Authorization", f"Bearer {ada.token}"), ("If-Match", STALE), ("If-Match", second)]

    refused = await api.client.request("PATCH", "/v1/users/me", json={"name": "A"}, headers=headers)

    assert error_of(refused) == error
