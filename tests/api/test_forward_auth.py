"""Forward authentication: what gateways ask for their visitors, and what those must not be able to change."""

from asyncio import open_connection
from typing import Any
from urllib.parse import quote, unquote

import pytest

from service.domain.keys import Scope
from service.domain.users import UserRole
from tests.support.api import Api, RunningService, error_of
from tests.support.asgi import scope_of, send_request
from tests.support.databases import execute, fetch_values
from tests.support.servers import listening

PATH = "/v1/forward-auth"
FIELDS = ("X-User-Id", "X-User-Login", "X-User-Name", "X-User-Role", "X-Scope", "Remote-User")


def told(answer: Any) -> dict[str, str]:
    return {name: answer.headers[name] for name in FIELDS}


async def test_call_for_a_session_names_its_user(api: Api) -> None:
    ada = await api.account("ada@example.org", name="Ada, Countess of “Lovelace”")

    answer = await api.by(ada).get(PATH)

    assert (answer.status_code, answer.content) == (200, b"")
    assert told(answer) == {
        "X-User-Id": str(ada.id),
        "X-User-Login": "ada@example.org",
        "X-User-Name": "Ada%2C%20Countess%20of%20%E2%80%9CLovelace%E2%80%9D",
        "X-User-Role": "user",
        "X-Scope": "user",
        "Remote-User": "ada@example.org",
    }
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Length"] == "0"
    assert "ETag" not in answer.headers


async def test_call_for_a_key_names_its_id_and_scopes_and_no_user(api: Api) -> None:
    """Its name might be another's login id. Every field is there, or the visitor's own would pass."""
    key = await api.key(Scope.USERS_READ, Scope.EVENTS_READ)
    ((key_id,),) = await fetch_values(api.service.engine, "SELECT id FROM api_keys")

    assert told(await api.by(key).get(PATH)) == {
        "X-User-Id": str(key_id),
        "X-User-Login": "",
        "X-User-Name": "",
        "X-User-Role": "",
        "X-Scope": "users:read events:read",
        "Remote-User": "",
    }


@pytest.mark.parametrize(
    "login_id",
    [
        "o'brien%0d%0ax-user-role:admin",
        "ada\r\nX-User-Role: admin",
        "ada\x00\x7f\x85",
        'a "b" c',
        "ādá@例え.jp",
        r"corp\ada",
        "%41da",
    ],
)
async def test_call_for_any_login_id_and_name_sends_visible_ascii_that_decodes_to_it(
    api: Api, login_id: str
) -> None:
    """Whatever a row holds, even what no operation would let in. Source: CWE-113."""
    ada = await api.account("ada")
    stored = login_id.replace("\0", "")
    change = "UPDATE users SET login_id = :login_id, name = :login_id WHERE id = :id"
    await execute(api.service.engine, change, login_id=stored, id=ada.id)

    answer = await api.by(ada).get(PATH)

    for name in ("X-User-Login", "X-User-Name", "Remote-User"):
        assert set(answer.headers[name]) <= set(map(chr, range(0x21, 0x7F)))
        assert unquote(answer.headers[name]) == stored
    assert answer.headers["X-User-Role"] == "user"
    assert answer.headers["X-User-Name"] == quote(stored, safe="")


# What a visitor can make a gateway send.
VISITS: dict[str, tuple[str, str, list[tuple[str, str]]]] = {
    "any accept": ("GET", PATH, [("Accept", "text/event-stream"), ("Accept", "image/avif")]),
    "conditional": ("GET", PATH, [("If-None-Match", "*"), ("If-Match", '"x"'), ("If-Modified-Since", "x")]),
    "broken conditional": ("DELETE", PATH, [("If-None-Match", "abc"), ("If-Match", "abc")]),
    "keys twice": ("POST", PATH, [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]),
    "types twice": ("POST", PATH, [("Content-Type", "a"), ("Content-Type", "b")]),
    "origins twice": ("GET", PATH, [("Origin", "https://a.example"), ("Origin", "null")]),
    "encodings twice": ("GET", PATH, [("Content-Encoding", "br"), ("Content-Encoding", "gzip")]),
    "a preflight": ("OPTIONS", PATH, [("Origin", "https://a"), ("Access-Control-Request-Method", "PUT")]),
    "another method": ("PROPFIND", PATH, [("Depth", "1")]),
    "head": ("HEAD", PATH, []),
    "a query": ("GET", f"{PATH}?a=b&a=c&=&&d=%ff%", []),
    "Envoy's root": ("PUT", f"{PATH}/", []),
    "a path below": ("GET", f"{PATH}/v1/users/me?role=admin&scope=x", []),
    "odd paths": ("GET", f"{PATH}//a/./../..//%2F%5C%00/%ff", []),
    "a way out": ("DELETE", f"{PATH}/../users/me", []),
    "an encoded way out": ("DELETE", f"{PATH}/%2e%2e/users/me", []),
}


@pytest.mark.parametrize("visit", VISITS)
async def test_call_with_what_a_visitor_sends_is_served_by_the_token_alone(
    api: Api, running: RunningService, visit: str
) -> None:
    """Every other status becomes a 500 in front of the visitor."""
    method, target, fields = VISITS[visit]
    ada = await api.account("ada")

    async def status(token: str | None) -> int:
        headers = [(name.lower().encode(), value.encode()) for name, value in fields]
        headers += [(b"authorization", f"Bearer {token}".encode())] if token else []
        scope = scope_of(method, target, headers)
        scope["path"] = unquote(scope["path"], errors="replace")
        answer = await send_request(running.app.edge, scope)
        assert answer is not None
        assert answer.body == b"" or answer.status == 401
        return answer.status

    assert [await status(token) for token in (ada.token, None, "rcs_x")] == [200, 401, 401]
    assert (await api.by(ada).get("/v1/users/me")).status_code == 200


async def test_call_over_the_wire_with_a_body_leaves_the_connection_to_the_next(
    api: Api, running: RunningService
) -> None:
    ada = await api.account("ada")
    async with listening(running) as server:
        reader, writer = await open_connection(*server.address)
        head = f"POST {PATH}/x//y?z=%zz HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {ada.token}\r\n"
        for _ in range(2):
            writer.write(head.encode() + b"Content-Length: 3\r\nContent-Type: x\r\n\r\nabc")
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert b"x-user-login: ada\r\n" in answer
        writer.close()


async def test_call_with_two_tokens_counts_as_none(api: Api) -> None:
    ada, bob = await api.account("ada"), await api.account("bob")
    fields = [("Authorization", f"Bearer {account.token}") for account in (ada, bob)]

    assert error_of(await api.client.get(PATH, headers=fields)) == (401, "unauthenticated")


async def test_call_without_a_valid_token_gets_the_challenge(api: Api) -> None:
    missing, wrong = await api.get(PATH), await api.by("rcs_" + "A" * 43).get(PATH)

    assert (missing.status_code, missing.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert (wrong.status_code, wrong.headers["WWW-Authenticate"]) == (401, 'Bearer error="invalid_token"')
    assert not set(FIELDS) & set(missing.headers)


async def test_call_with_a_header_beyond_the_limits_is_rejected(api: Api) -> None:
    ada = await api.account("ada")

    assert error_of(await api.by(ada).get(PATH, headers={"X-Long": "x" * 20_000})) == (
        431,
        "header_too_large",
    )


@pytest.mark.parametrize(
    ("query", "allowed"),
    [
        ("role=admin", {"admin"}),
        ("role=user", {"user", "admin"}),
        ("role=user&role=admin", {"admin"}),
        ("role=root", set()),
        ("role=", set()),
        ("scope=admin", {"admin"}),
        ("scope=users:read", {"key"}),
        ("scope=users:read%20events:read", {"key"}),
        ("scope=users:read&scope=users:write", set()),
        ("role=admin&scope=users:read", set()),
        ("scope=", {"user", "admin", "key"}),
        ("roles=admin", {"user", "admin", "key"}),
    ],
)
async def test_require_role_or_scope_lets_only_their_holders_in(
    api: Api, query: str, allowed: set[str]
) -> None:
    tokens = {
        "user": (await api.account("ada")).token,
        "admin": (await api.account("root", role=UserRole.ADMIN)).token,
        "key": await api.key(Scope.USERS_READ, Scope.EVENTS_READ),
    }

    for caller, token in tokens.items():
        answer = await api.by(token).get(f"{PATH}?{query}")
        assert (caller, answer.status_code) == (caller, 200 if caller in allowed else 403)


async def test_call_while_a_password_change_is_due_is_forbidden(api: Api) -> None:
    due = await api.account("due", must_change=True)

    assert error_of(await api.by(due).get(PATH)) == (403, "password_change_required")


async def test_call_is_one_statement_and_a_use_of_the_session(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await api.account("ada")
    aged = "UPDATE sessions SET last_used_at = now() - interval '2 hours'"
    await execute(api.service.engine, aged)
    pool, statements = api.service.read_pool, 0
    fetch_all = pool.fetch_all

    async def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal statements
        statements += 1
        return await fetch_all(*arguments, **options)

    monkeypatch.setattr(pool, "fetch_all", counted)
    assert (await api.by(ada).get(PATH)).status_code == 200
    assert statements == 1
    await api.service.last_used.flush(api.service.database)
    used = "SELECT now() - last_used_at < interval '1 minute' FROM sessions"
    assert await fetch_values(api.service.engine, used) == [(True,)]


@pytest.mark.parametrize("path", ["/v1/forward-authx", "/v1//forward-auth", "/v1/forward-auth%2Fx"])
async def test_call_forward_auth_under_another_path_gets_404(api: Api, path: str) -> None:
    ada = await api.account("ada")

    assert error_of(await api.by(ada).get(f"http://rollcall.test{path}")) == (404, "not_found")
