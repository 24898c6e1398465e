"""Who may call what: the contract's own table against every route there is. Deny by default."""

import asyncio
from datetime import timedelta
from http import HTTPMethod

import pytest

from service.api.authentication import Authenticator
from service.api.dispatch import RouteTable
from service.api.http.edge import EdgeMiddleware
from service.api.http.response import Response
from service.api.operations import Operation
from service.api.pipeline import OperationPipeline
from service.domain.callers import Access
from service.domain.keys import Scope
from service.domain.users import UserRole
from service.services import Services
from tests.support.api import OTHER_PASSWORD, PASSWORD, Account, Api, RunningService, serving
from tests.support.asgi import ask
from tests.support.databases import fetch_values
from tests.support.settings import settings_for_tests

READ, WRITE, INTROSPECT = Scope.USERS_READ.value, Scope.USERS_WRITE.value, Scope.SESSIONS_INTROSPECT.value
WRITE_ADMINS, EVENTS = Scope.ADMINS_WRITE.value, Scope.EVENTS_READ.value
CALLERS = ("nobody", "owner", "stranger", "admin", READ, WRITE, WRITE_ADMINS, INTROSPECT, EVENTS)
ANYBODY = frozenset(CALLERS)
SESSIONS = {"owner", "stranger", "admin"}
ALLOWED = {
    ("POST", "/v1/users"): {"admin", WRITE},
    ("GET", "/v1/users"): {"admin", READ},
    ("GET", "/v1/users/{user_id}"): {"owner", "admin", READ},
    ("PATCH", "/v1/users/{user_id}"): {"owner", "admin", WRITE},
    ("DELETE", "/v1/users/{user_id}"): {"owner", "admin", WRITE},
    ("PUT", "/v1/users/{user_id}/password"): {"owner", "admin", WRITE},
    ("POST", "/v1/users/{user_id}/reset-tokens"): {"admin", WRITE},
    ("POST", "/v1/reset-tokens/redeem"): ANYBODY,
    ("POST", "/v1/users/{user_id}/email-verification"): {"owner", "admin", WRITE},
    ("POST", "/v1/email-verifications/redeem"): ANYBODY,
    ("POST", "/v1/recoveries"): ANYBODY,
    ("POST", "/v1/login-codes"): ANYBODY,
    ("POST", "/v1/tokens"): {"owner", "stranger", "admin"},
    ("POST", "/v1/sessions"): ANYBODY,
    ("GET", "/v1/sessions/current"): {"owner", "stranger", "admin"},
    ("DELETE", "/v1/sessions/current"): {"owner", "stranger", "admin"},
    ("POST", "/v1/passkey-challenges"): ANYBODY,
    ("POST", "/v1/sessions/current/step-up"): SESSIONS,
    ("GET", "/v1/users/me/devices"): SESSIONS,
    ("DELETE", "/v1/users/me/devices/{device_id}"): SESSIONS,
    ("POST", "/v1/users/me/totp"): SESSIONS,
    ("POST", "/v1/users/me/totp/confirm"): SESSIONS,
    ("DELETE", "/v1/users/me/totp"): SESSIONS,
    ("POST", "/v1/users/me/passkeys/options"): SESSIONS,
    ("GET", "/v1/users/me/passkeys"): SESSIONS,
    ("POST", "/v1/users/me/passkeys"): SESSIONS,
    ("PATCH", "/v1/users/me/passkeys/{passkey_id}"): SESSIONS,
    ("DELETE", "/v1/users/me/passkeys/{passkey_id}"): SESSIONS,
    ("POST", "/v1/users/me/recovery-codes"): SESSIONS,
    ("DELETE", "/v1/users/{user_id}/factors"): {"admin", WRITE_ADMINS},
    ("GET", "/v1/sessions/{session_id}"): {"owner", "admin"},
    ("DELETE", "/v1/sessions/{session_id}"): {"owner", "admin"},
    ("GET", "/v1/users/{user_id}/sessions"): {"owner", "admin"},
    ("DELETE", "/v1/users/{user_id}/sessions"): {"owner", "admin", WRITE},
    ("POST", "/v1/introspect"): {INTROSPECT},
    ("POST", "/v1/revoke"): ANYBODY,
    ("GET", "/v1/forward-auth"): ANYBODY - {"nobody"},
    ("POST", "/v1/keys"): {"admin"},
    ("GET", "/v1/keys"): {"admin"},
    ("GET", "/v1/keys/{key_id}"): {"admin"},
    ("DELETE", "/v1/keys/{key_id}"): {"admin"},
    ("GET", "/v1/events"): {"admin", EVENTS},
}
NOBODYS = "0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e"
BODIES = {"PATCH": {"name": "Same"}, "PUT": {"current_password": "", "new_password": ""}}


def test_list_operations_finds_those_of_the_contract(running: RunningService) -> None:
    served = {(operation.method.value, operation.path) for operation in running.app.operations}
    assert {(method, path) for method, path in served if path.startswith("/v1")} == set(ALLOWED)


@Operation(HTTPMethod.GET, "/v1/forgotten", tag="", access=Access(), responses={})
async def forgotten() -> Response:
    return Response(200, b'{"items": "for anybody"}')


async def test_call_operation_that_grants_nothing_is_rejected_for_everybody(api: Api) -> None:
    """Source: OWASP ASVS 5.0 8.2.1."""
    authenticator = Authenticator(api.service.reads, api.service.last_used)
    routes, ttl = RouteTable([forgotten], {}), timedelta(minutes=10)
    edge = EdgeMiddleware(OperationPipeline(routes, authenticator, step_up_ttl=ttl))
    tokens = (None, (await api.admin()).token, await api.key(*Scope))
    responses = [
        await ask(
            edge,
            "GET",
            "/v1/forgotten",
            headers=[(b"authorization", f"Bearer {token}".encode())] * bool(token),
        )
        for token in tokens
    ]
    assert [response.status for response in responses] == [401, 403, 403]


def test_list_routes_of_the_framework_finds_none_beside_the_operations(running: RunningService) -> None:
    """Source: authentik CVE-2026-55106: a route beside the others skipped their checks."""
    assert running.app.framework.routes == []


async def tokens_of(api: Api, owner: Account) -> dict[str, str | None]:
    stranger, admin = await api.account("stranger"), await api.admin()
    keys = {scope.value: await api.key(scope) for scope in Scope}
    return {"nobody": None, "owner": owner.token, "stranger": stranger.token, "admin": admin.token, **keys}


@pytest.mark.parametrize(("method", "path"), ALLOWED)
async def test_call_operation_is_granted_exactly_as_in_the_contract(api: Api, method: str, path: str) -> None:
    """No body here does anything that the next one who asks would notice."""
    allowed = ALLOWED[method, path]
    owner = await api.account("owner")
    tokens = await tokens_of(api, owner)
    key_id = (await fetch_values(api.service.engine, "SELECT id FROM api_keys ORDER BY created_at"))[0][0]
    for caller in sorted(CALLERS, key=lambda caller: caller in allowed):
        nothing = {"passkey_id": NOBODYS, "device_id": NOBODYS}
        filled = path.format(user_id=owner.id, session_id=owner.session_id, key_id=key_id, **nothing)
        answer = await api.by(tokens[caller]).request(method, filled, json=BODIES.get(method))
        is_gone = method == "DELETE" and answer.status_code in {401, 404}
        is_gone |= "{passkey_id}" in path and answer.status_code == 404
        if caller in allowed:
            assert is_gone or answer.status_code not in {401, 403, 404}, caller
        elif caller == "nobody":
            assert answer.status_code == 401
            challenge = 'Basic realm="rollcall", Bearer' if path == "/v1/introspect" else "Bearer"
            assert answer.headers["WWW-Authenticate"] == challenge
        else:
            is_anothers = caller == "stranger" and "owner" in allowed
            assert answer.status_code == (404 if is_anothers else 403), caller


@pytest.mark.parametrize(
    "trick",
    ["/v1/users/", "//v1/users", "/v1//users", "/v1/users%2F", "/%2Fv1/users", "/v1/./users", "/V1/users",
     "/v1/users;x", "/v1/health/../users", "/v1/users/%2e%2e/keys"],
)  # fmt: skip
async def test_request_with_unusual_path_spelling_gains_no_access(api: Api, trick: str) -> None:
    stranger = await api.account("stranger")
    for token in (None, stranger.token):
        for method in ("GET", "HEAD", "POST", "OPTIONS"):
            answer = await api.by(token).request(method, trick)
            assert answer.status_code in {204, 400, 401, 403, 404, 405}, (method, answer.status_code)
            assert "items" not in answer.text


@pytest.mark.parametrize("headers", [
    {"X-HTTP-Method-Override": "GET"}, {"X-Original-URL": "/health/live"}, {"X-User-Id": "{admin}"},
    {"Host": "a/health/live?"}, {"Forwarded": "for=127.0.0.1"}, {"Cookie": "token={token}"},
    {"X-Api-Key": "{token}"}, {"Authorization": "Basic {token}"}, {"Authorization": "Bearer"},
    {"Authorization": "{token}"}, {"Authorization": "Bearer {token}x"}, {"Authorization": "Bearer a b"},
])  # fmt: skip
async def test_authenticate_by_other_headers_gets_401(api: Api, headers: dict[str, str]) -> None:
    """Source: RFC 6750 2; CVE-2026-48710."""
    admin = await api.admin()
    filled = {name: value.format(admin=admin.id, token=admin.token) for name, value in headers.items()}
    answer = await api.get("/v1/users", headers=filled)
    assert answer.status_code in {400, 401}
    assert "items" not in answer.text


async def test_authenticate_by_token_outside_the_header_gets_401(api: Api) -> None:
    admin = await api.admin()
    in_query = await api.get(f"/v1/users?access_token={admin.token}")
    assert in_query.status_code == 401
    assert admin.token not in in_query.text
    twice = await api.client.get("/v1/users", headers=[("Authorization", f"Bearer {admin.token}")] * 2)
    assert twice.status_code in {400, 401}
    lower = await api.get("/v1/users", headers={"Authorization": f"bEaReR {admin.token}"})
    assert lower.status_code == 200


async def test_authenticate_with_bad_token_names_the_error_in_the_challenge(api: Api) -> None:
    """Source: RFC 6750 3.1."""
    for token in ("rcs_" + "A" * 43, "rck_" + "A" * 43, "nonsense", "rcs_", "x" * 9000):
        answer = await api.by(token).get("/v1/users/me")
        assert answer.status_code in {400, 401, 431}, answer.status_code
        if answer.status_code == 401:
            assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


async def test_get_user_of_another_gets_the_same_404_as_a_missing_one(api: Api) -> None:
    """Source: OWASP ASVS 5.0 8.2.2."""
    victim, mallory = await api.account("victim"), api.by(await api.account("mallory"))
    never = "01890000-0000-7000-8000-000000000000"
    for method, path, body in (
        ("GET", "/v1/users/{}", None),
        ("PATCH", "/v1/users/{}", {"name": "M"}),
        ("DELETE", "/v1/users/{}", None),
        ("PUT", "/v1/users/{}/password", {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}),
        ("GET", "/v1/users/{}/sessions", None),
        ("DELETE", "/v1/users/{}/sessions", None),
    ):
        answers = [
            await mallory.request(method, path.format(id_), **({"json": body} if body else {}))
            for id_ in (victim.id, never)
        ]
        bodies = [{**answer.json(), "instance": ""} for answer in answers]
        assert bodies[0] == bodies[1]
        assert bodies[0]["status"] == 404
    assert (await api.by(victim).get("/v1/users/me")).status_code == 200


@pytest.mark.parametrize("field", [
    "id", "role", "roles", "is_admin", "state", "login_id", "password", "password_hash", "must_change",
    "created_at", "updated_at", "verified", "user_id", "__class__",
])  # fmt: skip
async def test_update_user_with_privileged_field_gets_403_and_changes_nothing(
    api: Api, service: Services, field: str
) -> None:
    """Source: OWASP ASVS 5.0 8.2.3; CVE-2026-27946."""
    ada = await api.account("ada")
    value = {"role": "admin", "state": "active", "login_id": "root"}.get(field, "admin")
    before = await fetch_values(service.engine, "SELECT u::text FROM users u")
    answer = await api.by(ada).patch("/v1/users/me", {"name": "Mallory", field: value})
    assert answer.status_code in {403, 422}
    assert await fetch_values(service.engine, "SELECT u::text FROM users u") == before


async def test_request_with_user_id_in_body_gets_422(api: Api) -> None:
    """Source: CVE-2025-61928."""
    victim, mallory = await api.account("victim"), await api.account("mallory")
    body = {"user_id": str(victim.id), "current_password": PASSWORD, "new_password": OTHER_PASSWORD}
    assert (await api.by(mallory).put("/v1/users/me/password", body)).status_code == 422
    login = {"user_id": str(victim.id), "login_id": "mallory", "password": PASSWORD}
    assert (await api.post("/v1/sessions", login)).status_code == 422
    assert (await api.log_in("victim")).status_code == 201


async def test_create_admin_needs_an_admin_or_a_write_key(api: Api, service: Services) -> None:
    """Source: Keycloak CVE-2026-94000: no way up for a lesser right."""
    ada, reader = await api.account("ada"), await api.key(Scope.USERS_READ)
    wanted = {"login_id": "eve", "name": "E", "role": "admin", "password": OTHER_PASSWORD}
    for token in (None, ada.token, reader, await api.key(Scope.SESSIONS_INTROSPECT)):
        assert (await api.by(token).post("/v1/users", wanted)).status_code in {401, 403}
    assert await fetch_values(service.engine, "SELECT count(*) FROM users WHERE role = 'admin'") == [(0,)]


async def test_get_user_by_noncanonical_id_gets_404(api: Api) -> None:
    ada = await api.account("ada")
    plain = str(ada.id)
    for spelling in (
        plain.upper(),
        f"{{{plain}}}",
        f"urn:uuid:{plain}",
        plain.replace("-", ""),
        f" {plain}",
        "1",
    ):
        assert (await api.by(ada).get(f"/v1/users/{spelling}")).status_code == 404, spelling
    assert (await api.by(ada).get(f"/v1/users/{plain}")).status_code == 200


async def test_open_registration_grants_no_rights_and_no_bypass_of_forced_change(database: str) -> None:
    """Source: Zitadel CVE-2024-49757; OWASP ASVS 5.0 6.4.1."""
    settings = settings_for_tests(registration="open")
    async with serving(settings, database) as running, running.client() as client:
        api = Api(client, running.service)
        plain = {"login_id": "eve", "name": "E", "password": OTHER_PASSWORD}
        for more in ({"role": "admin"}, {"state": "active"}, {"password_hash": "$2b$04$x"}):
            assert (await api.post("/v1/users", {**plain, **more})).status_code == 422
        due = await api.account("due", role=UserRole.ADMIN, must_change=True)
        made = await api.by(due).post("/v1/users", {**plain, "role": "admin"})
        assert (made.status_code, made.json()["code"]) == (403, "password_change_required")
        made = await api.post("/v1/users", plain)
        assert (made.status_code, made.json()["role"]) == (201, "user")


async def test_get_me_by_concurrent_callers_returns_each_its_own_user(api: Api) -> None:
    accounts = [await api.account(f"caller{number}", password=None) for number in range(40)]
    tokens = [account.token for account in accounts] + ["rcs_" + "x" * 43]
    answers = await asyncio.gather(*(api.by(token).get("/v1/users/me") for token in tokens * 2))
    told = [answer.json()["id"] if answer.status_code == 200 else answer.status_code for answer in answers]
    assert told == [*(str(account.id) for account in accounts), 401] * 2
