"""Who may do what: every operation of the document, by every kind of caller, held against the contract."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from rollcall_testkit.passkeys import SoftwarePasskey

from service.db.repositories.devices import DeviceRepository, LoginDevice
from service.db.repositories.passkeys import PasskeyRepository
from service.domain.callers import OPERATOR
from service.domain.keys import Scope
from service.domain.signing import AccessTokenPolicy, SignatureAlgorithm
from service.security.encryption import SecretCipher
from service.security.ids import new_id
from service.security.tokens import DEVICE_PREFIX, new_token
from service.security.webauthn import NewPasskey
from service.usecases.signing_keys import SigningKeyRing
from tests.support.api import OTHER_PASSWORD, PASSWORD, Account, Api, error_of
from tests.support.databases import execute, fingerprint
from tests.support.factors import TOTP, created_passkey, enroll_totp, totp_code

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT: dict[str, Any] = json.loads((ROOT / "docs/openapi.json").read_text())
OPERATIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
}

OK = "ok"
FORBIDDEN = (403, "forbidden")
HIDDEN = (404, "not_found")
NO_TOKEN = (401, "unauthenticated")
BAD_TOKEN = (401, "invalid_token")
NO_CLIENT = (401, "invalid_client")

# What the contract says, by hand. The subject of a path is always Ada; `self` is Ada, `other` another plain
# user; a key has exactly the scope of the column, `no key` is any other one. `any key` is for all of them.
ADMIN_ONLY = {"self": FORBIDDEN, "other": FORBIDDEN, "admin": OK, "scope": None}
OWN = {"self": OK, "other": OK, "admin": OK, "scope": None}
EXPECTED: dict[str, dict[str, Any]] = {
    "create_user": {**ADMIN_ONLY, "scope": Scope.USERS_WRITE},
    "list_users": {**ADMIN_ONLY, "scope": Scope.USERS_READ},
    "get_user": {"self": OK, "other": HIDDEN, "admin": OK, "scope": Scope.USERS_READ},
    "update_user": {"self": OK, "other": HIDDEN, "admin": OK, "scope": Scope.USERS_WRITE},
    "delete_user": {"self": OK, "other": HIDDEN, "admin": OK, "scope": Scope.USERS_WRITE},
    "change_password": {"self": OK, "other": HIDDEN, "admin": OK, "scope": Scope.USERS_WRITE},
    "create_reset_token": {**ADMIN_ONLY, "scope": Scope.USERS_WRITE},
    "send_verification": {"self": OK, "other": HIDDEN, "admin": OK, "scope": Scope.USERS_WRITE},
    "get_current_session": {"self": OK, "other": OK, "admin": OK, "scope": None},
    "step_up": OWN,
    "log_out": {"self": OK, "other": OK, "admin": OK, "scope": None},
    "list_sessions": {"self": OK, "other": HIDDEN, "admin": OK, "scope": None},
    "end_sessions": {"self": OK, "other": HIDDEN, "admin": OK, "scope": Scope.USERS_WRITE},
    "get_session": {"self": OK, "other": HIDDEN, "admin": OK, "scope": None},
    "end_session": {"self": OK, "other": HIDDEN, "admin": OK, "scope": None},
    "list_devices": OWN,
    "forget_device": {**OWN, "other": HIDDEN, "admin": HIDDEN},
    "enroll_totp": OWN,
    "confirm_totp": OWN,
    "remove_totp": OWN,
    "create_passkey_options": OWN,
    "add_passkey": OWN,
    "list_passkeys": OWN,
    "update_passkey": {**OWN, "other": HIDDEN, "admin": HIDDEN},
    "remove_passkey": {**OWN, "other": HIDDEN, "admin": HIDDEN},
    "create_recovery_codes": OWN,
    "remove_factors": {**ADMIN_ONLY, "scope": Scope.ADMINS_WRITE},
    "introspect": {
        **ADMIN_ONLY,
        "admin": FORBIDDEN,
        "scope": Scope.SESSIONS_INTROSPECT,
        "nobody": NO_CLIENT,
        "garbage": NO_CLIENT,
        "expired": NO_CLIENT,
    },
    "revoke": {
        "self": OK,
        "other": OK,
        "admin": OK,
        "any key": OK,
        "nobody": OK,
        "garbage": NO_CLIENT,
        "expired": NO_CLIENT,
    },
    "issue_token": {"self": OK, "other": OK, "admin": OK, "scope": None},
    "forward_auth": {"self": OK, "other": OK, "admin": OK, "any key": OK},
    "create_key": ADMIN_ONLY,
    "list_keys": ADMIN_ONLY,
    "get_key": ADMIN_ONLY,
    "revoke_key": ADMIN_ONLY,
    "list_events": {**ADMIN_ONLY, "scope": Scope.EVENTS_READ},
}
FORWARDED = "forward_auth"
"""Served with every method, on its path and below."""
PUBLIC = {
    "get_server_metadata",
    "get_openid_configuration",
    "get_jwks",
    "log_in",
    "create_passkey_challenge",
    "redeem_reset_token",
    "request_recovery",
    "send_login_code",
    "verify_email",
    "check_live",
    "check_ready",
    "get_metrics",
    "get_openapi",
    "get_docs",
}


AUDIENCE = "https://orders.example.org"


@pytest.fixture(autouse=True)
def _issues_tokens(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the shared service issue access tokens, which is off by default."""
    service, issuer = api.service, api.service.access_tokens
    cipher, es256 = SecretCipher([bytes(32)]), SignatureAlgorithm.ES256
    policy = AccessTokenPolicy(
        "https://accounts.example.org", "rollcall", frozenset({AUDIENCE}), timedelta(minutes=5), es256
    )
    monkeypatch.setattr(issuer, "policy", policy)
    monkeypatch.setattr(
        issuer, "ring", SigningKeyRing(service.reads.signing_keys, service.database, cipher, es256)
    )


@dataclass
class World:
    """Callers of every kind, and what the operations are tried on."""

    tokens: dict[str, str | None]
    ids: dict[str, UUID]

    def path(self, template: str) -> str:
        return template.format(**self.ids)


async def world_of(api: Api) -> World:
    ada, bob, root = await api.account("ada"), await api.account("bob"), await api.admin()
    gone = await api.account("gone")
    ended = "UPDATE sessions SET expires_at = now() WHERE id = :id"
    await execute(api.service.engine, ended, id=gone.session_id)
    made = await api.by(root).post("/v1/keys", {"name": "spare", "scopes": ["users:read"]})
    tokens: dict[str, str | None] = {
        "nobody": None,
        "garbage": "rcs_" + "A" * 43,
        "expired": gone.token,
        "self": ada.token,
        "other": bob.token,
        "admin": root.token,
    }
    for scope in Scope:
        tokens[f"key {scope}"] = await api.key(scope)
    key_id = UUID(made.json()["api_key"]["id"])
    ids = {"user_id": ada.id, "session_id": ada.session_id, "key_id": key_id}
    ids |= {"passkey_id": await passkey_of(api, ada), "device_id": await device_of(api, ada)}
    return World(tokens, ids)


async def passkey_of(api: Api, account: Account) -> UUID:
    passkey_id = new_id()
    new = NewPasskey(passkey_id.bytes, b"", 0, UUID(int=0), (), is_backup_eligible=False, is_backed_up=False)
    async with api.service.database.transaction(caller=OPERATOR) as tx:
        await PasskeyRepository(tx).add(passkey_id, account.id, "Key ring", new)
    return passkey_id


async def device_of(api: Api, account: Account) -> UUID:
    device = LoginDevice(new_id(), "192.0.2.0/24", new_token(DEVICE_PREFIX).digest)
    async with api.service.database.transaction(caller=OPERATOR) as tx:
        await DeviceRepository(tx).add(account.id, device)
    return device.id


async def prepare(operation: str, client: Api) -> Any:
    """Do what has to come before an operation that may be used; return its body."""
    if operation == "confirm_totp":
        return {"code": totp_code((await client.post(TOTP)).json()["secret"])}
    if operation == "step_up":
        secret = await enroll_totp(client)
        return {"totp": totp_code(secret, steps_ahead=1)}  # the current one has enrolled it
    if operation == "remove_totp":
        await client.post(TOTP)
    if operation == "create_recovery_codes":
        await enroll_totp(client)
    if operation == "add_passkey":
        return await created_passkey(client, SoftwarePasskey())
    return None


def body_for(operation: str, caller: str) -> Any:
    if operation == "change_password":
        own = {"current_password": PASSWORD} if caller == "self" else {}
        return {"new_password": OTHER_PASSWORD, **own}
    if operation == "update_user":
        return {"name": "Changed"}
    if operation == "create_user":
        return {"login_id": "new", "name": "New"}
    return {
        "confirm_totp": {"code": "123456"},
        "add_passkey": {"challenge_id": "0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e", "passkey": {}},
        "step_up": {"totp": "123456"},
        "update_passkey": {"name": "Changed"},
        "create_key": {"name": "new", "scopes": ["users:read"]},
        "introspect": {"token": "rcs_x"},
        "revoke": {"token": "rcs_x"},
        "issue_token": {"audience": AUDIENCE},
        "log_in": {"login_id": "ada", "password": PASSWORD},
        "redeem_reset_token": {"token": "rcr_x", "new_password": OTHER_PASSWORD},
        "request_recovery": {"login_id": "ada"},
        "send_login_code": {"login_id": "ada"},
        "verify_email": {"token": "rcv_x"},
    }.get(operation)


def expectation(operation: str, caller: str) -> Any:
    if caller in EXPECTED[operation]:
        return EXPECTED[operation][caller]
    if caller == "nobody":
        return NO_TOKEN
    if caller in ("garbage", "expired"):
        return BAD_TOKEN
    if caller.startswith("key ") and "any key" in EXPECTED[operation]:
        return EXPECTED[operation]["any key"]
    if caller.startswith("key "):
        return OK if caller == f"key {EXPECTED[operation]['scope']}" else FORBIDDEN
    raise AssertionError(f"nothing says what {caller} may do with {operation}")


async def call(
    api: Api, world: World, operation: str, caller: str, *, is_allowed: bool = False
) -> httpx.Response:
    method, template, _ = OPERATIONS[operation]
    client = api.by(world.tokens[caller])
    prepared = await prepare(operation, client) if is_allowed else None
    body = body_for(operation, caller) if prepared is None else prepared
    return await client.request(method, world.path(template), json=body)


def test_matrix_covers_every_operation_of_the_document() -> None:
    assert set(EXPECTED) | PUBLIC == set(OPERATIONS)


@pytest.mark.parametrize("operation", EXPECTED)
async def test_call_operation_as_anybody_responds_as_the_contract_says(api: Api, operation: str) -> None:
    world = await world_of(api)
    before = await fingerprint(api.service.engine)
    expected = {caller: expectation(operation, caller) for caller in world.tokens}

    for caller in (caller for caller in expected if expected[caller] != OK):
        answer = await call(api, world, operation, caller)
        assert (caller, *error_of(answer)) == (caller, *expected[caller])
    assert await fingerprint(api.service.engine) == before

    for caller in (caller for caller in expected if expected[caller] == OK):
        answer = await call(api, world, operation, caller, is_allowed=True)
        assert (caller, answer.is_success) == (caller, True), answer.text
        if OPERATIONS[operation][0] == "GET":
            continue  # it has left the world as it was
        await execute(api.service.engine, "DELETE FROM users")
        await execute(api.service.engine, "DELETE FROM api_keys")
        world = await world_of(api)


@pytest.mark.parametrize("operation", sorted(PUBLIC))
async def test_call_public_operation_looks_at_no_token(api: Api, operation: str) -> None:
    world = await world_of(api)

    statuses = {
        caller: (await call(api, world, operation, caller)).status_code
        for caller in ("nobody", "garbage", "admin")
    }

    assert len(set(statuses.values())) == 1
    others = {"log_in": 201, "create_passkey_challenge": 201, "redeem_reset_token": 401, "verify_email": 401}
    others |= {"request_recovery": 202, "send_login_code": 202}
    others |= {"get_server_metadata": 404, "get_openid_configuration": 404}  # without a public URL
    assert statuses["nobody"] == others.get(operation, 200)


def other_spellings(path: str) -> Iterator[str]:
    yield f"{path}/"
    yield path.replace("/", "//", 1)
    yield "/" + path[1:].replace("/", "//", 1) if path.count("/") > 1 else f"{path}//"
    yield f"{path}%2F"
    yield f"{path}%2Fx"
    yield path[:1] + path[1:].replace("/", "%2F", 1) if path.count("/") > 1 else f"/%2F{path[1:]}"
    yield f"{path}/%2e%2e{path}"


@pytest.mark.parametrize("operation", sorted(OPERATIONS.keys() - {FORWARDED}))
async def test_call_operation_under_another_spelling_reaches_nothing(api: Api, operation: str) -> None:
    world = await world_of(api)
    before = await fingerprint(api.service.engine)
    method, template, _ = OPERATIONS[operation]

    for path in other_spellings(world.path(template)):
        for caller in ("nobody", "admin"):
            # httpx would take `//docs` alone for a host
            refused = await api.by(world.tokens[caller]).request(
                method, f"http://rollcall.test{path}", json=body_for(operation, caller)
            )
            assert (path, *error_of(refused)) == (path, *HIDDEN)

    assert await fingerprint(api.service.engine) == before


@pytest.mark.parametrize("operation", sorted(OPERATIONS.keys() - {FORWARDED}))
async def test_call_another_method_reaches_nothing(api: Api, operation: str) -> None:
    world = await world_of(api)
    before = await fingerprint(api.service.engine)
    _, template, _ = OPERATIONS[operation]
    documented = {method.upper() for method in DOCUMENT["paths"][template]} | {"HEAD", "OPTIONS"}
    documented -= set() if "get" in DOCUMENT["paths"][template] else {"HEAD"}

    for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "QUERY"} - documented:
        refused = await api.by(world.tokens["admin"]).request(method, world.path(template), json={})
        assert (method, refused.status_code) == (method, 405)
        assert "Allow" in refused.headers

    assert await fingerprint(api.service.engine) == before
