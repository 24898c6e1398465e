"""What is malformed or breaks a rule gets a clear 4xx, and nothing is changed by it."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from service.domain.keys import Scope
from tests.support.api import OTHER_PASSWORD, PASSWORD, Account, Api, error_of
from tests.support.databases import fetch_values, fingerprint

NOBODY = "0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e"
KEY = {"name": "k", "scopes": ["users:read"]}

# Every operation with a body: who may call it, how, where, and a body that it takes.
WRITES: dict[str, tuple[str | None, str, str, dict[str, Any]]] = {
    "create_user": ("admin", "POST", "/v1/users", {"login_id": "grace", "name": "G", "password": PASSWORD}),
    "update_user": ("ada", "PATCH", "/v1/users/me", {"name": "A"}),
    "change_password": (
        "ada",
        "PUT",
        "/v1/users/me/password",
        {"current_password": PASSWORD, "new_password": OTHER_PASSWORD},
    ),
    "log_in": (None, "POST", "/v1/sessions", {"login_id": "ada", "password": PASSWORD}),
    "redeem": (
        None,
        "POST",
        "/v1/reset-tokens/redeem",
        {"token": "rcr_" + "A" * 43, "new_password": OTHER_PASSWORD},
    ),
    "create_key": ("admin", "POST", "/v1/keys", KEY),
    "introspect": ("key", "POST", "/v1/introspect", {"token": "rcs_x"}),
}
FIRST_FIELD = {name: next(iter(write[3])) for name, write in WRITES.items()}


class Callers:
    """Who makes the requests of this module."""

    def __init__(self, api: Api, ada: Account, root: Account, key: str) -> None:
        self.api = api
        self._by: dict[str | None, Account | str | None] = {None: None, "ada": ada, "admin": root, "key": key}

    async def send(self, operation: str, content: bytes, content_type: str | None) -> Any:
        who, method, path, _ = WRITES[operation]
        headers = {} if content_type is None else {"Content-Type": content_type}
        return await self.api.by(self._by[who]).request(method, path, content=content, headers=headers)


@pytest.fixture
async def callers(api: Api) -> Callers:
    key = await api.key(Scope.SESSIONS_INTROSPECT)
    return Callers(api, await api.account("ada"), await api.admin(), key)


def with_first(operation: str, raw: bytes) -> bytes:
    """Give the operation's body with a raw value in place of its first field's."""
    body = {**WRITES[operation][3], FIRST_FIELD[operation]: "HERE"}
    return json.dumps(body).encode().replace(b'"HERE"', raw)


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


MALFORMED: dict[str, Callable[[str], bytes]] = {
    "raw NUL": lambda name: with_first(name, b'"a\x00b"'),
    "lone surrogate": lambda name: with_first(name, b'"a\\ud800b"'),
    "invalid UTF-8": lambda name: with_first(name, b'"\xff"'),
    "overlong UTF-8": lambda name: with_first(name, b'"\xc0\x80"'),
    "surrogates in UTF-8": lambda name: with_first(name, b'"\xed\xa0\xbd\xed\xb8\x80"'),
    "byte order mark": lambda name: b"\xef\xbb\xbf" + with_first(name, b'"a"'),
    "UTF-16": lambda name: with_first(name, b'"a"').decode().encode("utf-16"),
    "depth 33": lambda name: with_first(name, nested(32)),
    "depth 10 000": lambda name: with_first(name, nested(10_000 if name != "log_in" else 4000)),
    "repeated field": lambda name: with_first(name, b'"a","%s":"a"' % FIRST_FIELD[name].encode()),
    "NaN": lambda name: with_first(name, b"NaN"),
    "Infinity": lambda name: with_first(name, b"-Infinity"),
    "trailing bytes": lambda name: with_first(name, b'"a"') + b"x",
    "two documents": lambda name: with_first(name, b'"a"') * 2,
    "nothing": lambda _name: b"",
    "cut off": lambda name: with_first(name, b'"a"')[:-1],
    "comment": lambda name: with_first(name, b'"a"') + b"// really",
}
RULELESS: dict[str, Callable[[str], bytes]] = {
    "1e400": lambda name: with_first(name, b"1e400"),
    "huge integer": lambda name: with_first(name, b"1" * 5000),
    "1.0": lambda name: with_first(name, b"1.0"),
    "true": lambda name: with_first(name, b"true"),
    "null": lambda name: with_first(name, b"null"),
    "array": lambda name: with_first(name, b'["a"]'),
    "null at the root": lambda _name: b"null",
    "array at the root": lambda name: b"[%s]" % with_first(name, b'"a"'),
    "text at the root": lambda _name: b'"a"',
    "unknown field": lambda name: with_first(name, b'"a","is_admin":true'),
    "other case": lambda name: with_first(name, b'"a","%s":"a"' % FIRST_FIELD[name].upper().encode()),
    "prototype": lambda name: with_first(name, b'"a","__proto__":{"role":"admin"}'),
    "2000 fields": lambda name: with_first(name, b'"a",' + b",".join(b'"%d":1' % n for n in range(900))),
}


@pytest.mark.parametrize("operation", WRITES)
async def test_send_a_malformed_body_is_rejected_and_changes_nothing(
    callers: Callers, operation: str
) -> None:
    before = await fingerprint(callers.api.service.engine)

    for what, make in MALFORMED.items():
        refused = await callers.send(operation, make(operation), "application/json")
        assert (what, *error_of(refused)) == (what, 400, "malformed_json")

    assert await fingerprint(callers.api.service.engine) == before


@pytest.mark.parametrize("operation", WRITES)
async def test_send_a_body_that_breaks_a_rule_is_rejected_and_changes_nothing(
    callers: Callers, operation: str
) -> None:
    before = await fingerprint(callers.api.service.engine)

    for what, make in RULELESS.items():
        refused = await callers.send(operation, make(operation), "application/json")
        assert (what, *error_of(refused)) == (what, 422, "validation_failed")
        assert PASSWORD not in refused.text

    assert await fingerprint(callers.api.service.engine) == before


@pytest.mark.parametrize("operation", WRITES)
async def test_send_escaped_nul_in_any_text_never_fails_the_service(callers: Callers, operation: str) -> None:
    before = await fingerprint(callers.api.service.engine)
    expected = {"log_in": 401, "redeem": 401, "introspect": 200}.get(operation, 422)

    for field, value in WRITES[operation][3].items():
        if isinstance(value, str):
            body = {**WRITES[operation][3], field: "a\x00" + value}
            answer = await callers.send(operation, json.dumps(body).encode(), "application/json")
            assert answer.status_code == (
                422 if field == "new_password" and operation != "redeem" else expected
            )

    assert await fingerprint(callers.api.service.engine) == before


@pytest.mark.parametrize("operation", WRITES)
@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "application/vnd.api+json",
        "application/json, text/plain",
        "application/problem+json",
        "json",
    ],
)
async def test_send_another_content_type_is_rejected(
    callers: Callers, operation: str, content_type: str | None
) -> None:
    before = await fingerprint(callers.api.service.engine)
    body = json.dumps(WRITES[operation][3]).encode()

    refused = await callers.send(operation, body, content_type)

    assert error_of(refused) == (415, "unsupported_media_type")
    assert await fingerprint(callers.api.service.engine) == before


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "identity, gzip", "x"])
async def test_send_an_encoded_body_is_rejected_unread(callers: Callers, coding: str) -> None:
    refused = await callers.api.request(
        "POST",
        "/v1/sessions",
        content=b"\x1f\x8b" + b"\0" * 100,
        headers={"Content-Type": "application/json", "Content-Encoding": coding},
    )

    assert error_of(refused) == (415, "unsupported_media_type")


@pytest.mark.parametrize("operation", WRITES)
async def test_send_too_long_a_body_is_rejected(callers: Callers, operation: str) -> None:
    limit = 8 * 1024 if operation == "log_in" else 64 * 1024
    fits = with_first(operation, b'"a","x":"%s"' % (b"x" * (limit - 500)))

    at_limit = await callers.send(operation, fits.ljust(limit), "application/json")
    over = await callers.send(operation, fits.ljust(limit + 1), "application/json")

    assert error_of(at_limit) == (422, "validation_failed")
    assert error_of(over) == (413, "body_too_large")


BODILESS = [
    ("POST", "/v1/users/me/reset-tokens"),
    ("DELETE", "/v1/users/me"),
    ("DELETE", "/v1/users/me/sessions"),
    ("DELETE", "/v1/sessions/current"),
    ("DELETE", f"/v1/keys/{NOBODY}"),
]


async def chunks() -> AsyncIterator[bytes]:
    yield b"[]"


@pytest.mark.parametrize(("method", "path"), BODILESS)
async def test_send_a_body_where_none_is_taken_is_rejected_and_changes_nothing(
    api: Api, method: str, path: str
) -> None:
    await api.admin("other")
    admin = api.by(await api.admin())
    before = await fingerprint(api.service.engine)

    for content in (b'{"keep":"current"}', b"[]", b"x" * 100_000, chunks()):
        refused = await admin.request(method, path, content=content)
        assert error_of(refused) == (400, "malformed_request")

    assert await fingerprint(api.service.engine) == before
    assert (await admin.request(method, path, json={})).status_code in (201, 204, 404)


IDS = [
    "x", "0", "1_0", "9223372036854775808", "00000000-0000-0000-0000-000000000000", NOBODY.upper(),
    NOBODY.replace("-", ""), f"{{{NOBODY}}}", f"urn:uuid:{NOBODY}", f"{NOBODY};x", f"{NOBODY}%20",
    "%D9%A1", "ME", "me;x", "null", "current%20", "~", "-", "*",
]  # fmt: skip
PLACES = ["/v1/users/{}", "/v1/users/{}/sessions", "/v1/sessions/{}", "/v1/keys/{}"]


@pytest.mark.parametrize("place", PLACES)
async def test_delete_by_a_malformed_id_gets_404(api: Api, place: str) -> None:
    admin = api.by(await api.admin())

    for id_ in [*IDS, NOBODY]:
        refused = await admin.delete(place.format(id_))
        assert (id_, *error_of(refused)) == (id_, 404, "not_found")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("id_", ["a%00", "%FF", "%", "%zz", "%C0%80", "%ED%A0%80"])
async def test_delete_by_an_undecodable_id_gets_400(api: Api, place: str, id_: str) -> None:
    admin = api.by(await api.admin())

    assert error_of(await admin.delete(place.format(id_))) == (400, "malformed_request")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/users/",
        "//v1/users",
        "/v1//users",
        "/v1/users/me/",
        "/v1%2Fusers",
        "/%2Fv1/users",
        "/v1/users%2Fme",
        "/v1/users/me%2Fsessions",
        "/v1/users/%2e%2e/users",
        "/v1/keys/%2E%2E/users",
        "/v1/users;x",
        "/V1/users",
        "/v1/users.json",
        "/v1",
    ],
)
async def test_call_for_another_spelling_of_a_path_is_404(api: Api, path: str) -> None:
    admin = api.by(await api.admin())

    assert error_of(await admin.get(path)) == (404, "not_found")
    assert (await admin.get("/v1/users")).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"X-HTTP-Method-Override": "DELETE"},
        {"X-Method-Override": "DELETE"},
        {"X-Original-URL": "/v1/keys"},
        {"X-Rewrite-URL": "/v1/keys"},
        {"X-User-Id": NOBODY},
        {"X-Forwarded-User": "root"},
        {"X-Forwarded-For": "203.0.113.9"},
        {"Forwarded": "for=203.0.113.9;host=evil.example"},
        {"X-Forwarded-Host": "evil.example"},
        {"Host": "evil.example"},
        {"Cookie": "token=rcs_x; session=1"},
    ],
)
async def test_send_a_header_that_others_obey_has_no_effect(api: Api, headers: dict[str, str]) -> None:
    ada = api.by(await api.account("ada"))
    plain = await ada.get("/v1/users/me")

    tricked = await ada.get("/v1/users/me", headers=headers)

    assert tricked.content == plain.content
    assert "evil" not in str(tricked.headers)
    assert await fetch_values(api.service.engine, "SELECT count(*) FROM users") == [(1,)]


@pytest.mark.parametrize(
    ("value", "refusal"),
    [
        (b"Bearer " + b"a" * 10_000, (401, "invalid_token")),
        (b"Bearer rcs_" + b"A" * 43, (401, "invalid_token")),
        (b"Bearer", (401, "invalid_token")),
        (b"Bearer  ", (401, "invalid_token")),
        (b"Basic cm9vdDpyb290", (401, "unauthenticated")),
        (b"Token x", (401, "unauthenticated")),
        (b"Bearer rcs_\xc3\xa9", (401, "invalid_token")),
        (b"Bearer " + b"a" * 17_000, (431, "header_too_large")),
    ],
)
async def test_send_an_odd_authorization_is_rejected(
    api: Api, value: bytes, refusal: tuple[int, str]
) -> None:
    assert error_of(await api.get("/v1/users/me", headers={"Authorization": value})) == refusal


async def test_send_a_token_anywhere_but_in_the_header_is_rejected(api: Api) -> None:
    ada = await api.account("ada")

    two = [("Authorization", f"Bearer {ada.token}"), ("Authorization", f"Bearer {ada.token}")]
    twice = await api.client.get("/v1/users/me", headers=two)

    assert error_of(twice) == (400, "malformed_request")
    in_cookie = await api.get("/v1/users/me", headers={"Cookie": f"token={ada.token}"})
    assert error_of(in_cookie) == (401, "unauthenticated")
    assert (await api.get(f"/v1/users/me?access_token={ada.token}")).status_code == 401
    in_lower_case = await api.get("/v1/users/me", headers={"authorization": f"bearer {ada.token}"})
    assert in_lower_case.status_code == 200
