"""How services authenticate at introspection and revocation, as their stock clients do it."""

from base64 import b64encode
from urllib.parse import quote, urlencode

import httpx
import pytest

from service.domain.keys import Scope
from tests.support.api import Api, error_of
from tests.support.databases import execute

FORM = "application/x-www-form-urlencoded"
CHALLENGE = 'Basic realm="rollcall", Bearer'
WRONG = "rck_" + "A" * 43


def basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def form_encoded(secret: str) -> str:
    """Encode every character that is no letter or digit, as oauth4webapi does."""
    return "".join(char if char.isalnum() else f"%{ord(char):02X}" for char in secret)


async def ask(
    api: Api,
    fields: dict[str, str] | list[tuple[str, str]],
    authorization: str | None = None,
    *,
    path: str = "/v1/introspect",
    **headers: str,
) -> httpx.Response:
    sent = {"Content-Type": FORM, **headers}
    if authorization is not None:
        sent["Authorization"] = authorization
    return await api.request("POST", path, content=urlencode(fields), headers=sent)


# What each client sends, as seen on the wire: header, further fields of the form, further header fields.
CLIENTS: dict[str, tuple[str | None, dict[str, str], dict[str, str]]] = {
    "Spring Security": ("basic {key_id}", {}, {"Accept": "application/json"}),
    "Quarkus, Vert.x": ("basic {key_id}", {"token_type_hint": "access_token"}, {}),
    "openid-client": (None, {"client_id": "{key_id}", "client_secret": "{key}"}, {}),
    "openid-client, Basic": ("encoded gateway", {}, {"Accept": "application/json"}),
    "token-introspection": ("bearer", {"token_type_hint": "access_token"}, {}),
    ".NET": (None, {"client_id": "gateway", "client_secret": "{key}", "token_type_hint": "access_token"}, {}),
    "Authlib": ("basic gateway", {"token_type_hint": "access_token"}, {"Accept": "application/json"}),
    "requests-oauth2client": (None, {"client_id": "gateway", "client_secret": "{key}"}, {}),
    "FastMCP": ("basic {key_id}", {"token_type_hint": "access_token"}, {"Accept": "application/json"}),
    "zitadel/oidc": ("encoded {key_id}", {}, {}),
    "lua-resty-openidc": ("basic a", {"client_id": "a", "client_secret": "{key}"}, {}),
    "lua-resty-openidc, other secrets": ("basic a", {"client_id": "a", "client_secret": WRONG}, {}),
    "mod_oauth2": ("basic gateway", {"token_type_hint": "access_token"}, {}),
    "mod_auth_openidc": ("bearer", {"token_type_hint": "access_token", "client_id": "x"}, {}),
    "Dovecot": ("basic dovecot", {"client_id": "", "client_secret": ""}, {}),
    "Apache HttpClient": ("basic a", {}, {"Content-Type": f"{FORM}; charset=ISO-8859-1"}),
    "radicale": ("basic a", {"token_hint": "access_token", "scope": "openid", "resource": "x"}, {}),
    "a user name with a colon": ("basic urn:x:gateway", {}, {}),
    "no user name": ("basic ", {}, {}),
}


def header_of(form: str | None, key: str, key_id: str) -> str | None:
    if form is None:
        return None
    kind, _, user = form.format(key_id=key_id).partition(" ")
    if kind == "bearer":
        return f"Bearer {key}"
    return basic(quote(user, safe=""), form_encoded(key)) if kind == "encoded" else basic(user, key)


@pytest.mark.parametrize("path", ["/v1/introspect", "/v1/revoke"])
@pytest.mark.parametrize("client", CLIENTS)
async def test_call_as_a_stock_client_does_is_served(api: Api, client: str, path: str) -> None:
    ada, key = await api.account("ada"), await api.key(Scope.SESSIONS_INTROSPECT)
    key_id = "0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e"
    form, more, headers = CLIENTS[client]
    fields = {name: value.format(key=key, key_id=key_id) for name, value in more.items()}

    answer = await ask(
        api, {"token": ada.token, **fields}, header_of(form, key, key_id), path=path, **headers
    )

    assert answer.status_code == 200, answer.text
    if path == "/v1/introspect":
        assert answer.json()["username"] == "ada"
    else:
        assert (await api.by(ada).get("/v1/users/me")).status_code == 401


@pytest.mark.parametrize(
    ("authorization", "fields"),
    [
        (None, {}),
        (None, {"client_id": "gateway"}),
        (None, {"client_id": "gateway", "client_secret": ""}),
        (None, {"client_id": "gateway", "client_secret": WRONG}),
        (basic("gateway", WRONG), {}),
        (basic("gateway", ""), {}),
        (basic("{key}", ""), {}),
        (basic("gateway", WRONG), {"client_secret": "{key}"}),
        ("Basic", {}),
        ("Basic ???", {"client_secret": "{key}"}),
        ("Basic w6k=", {}),
        (f"Bearer {WRONG}", {"client_secret": "{key}"}),
        ("Bearer", {}),
        ("Digest {key}", {}),
        ("{key}", {}),
        (basic("gateway", "%00%ff" * 9), {}),
    ],
)
async def test_introspect_without_valid_credentials_is_rejected_as_oauth_clients_read_it(
    api: Api, authorization: str | None, fields: dict[str, str]
) -> None:
    """Source: RFC 6749 5.2, RFC 7662 2.3."""
    ada, key = await api.account("ada"), await api.key(Scope.SESSIONS_INTROSPECT)
    filled = {name: value.replace("{key}", key) for name, value in fields.items()}
    header = authorization.replace("{key}", key) if authorization is not None else None

    refused = await ask(api, {"token": ada.token, **filled}, header)

    assert error_of(refused) == (401, "invalid_client")
    assert refused.json()["error"] == "invalid_client"
    assert refused.headers["WWW-Authenticate"] == CHALLENGE
    assert (await ask(api, {"token": ada.token}, basic("", key))).json()["active"] is True


async def test_introspect_with_a_revoked_key_is_rejected_in_every_form(api: Api) -> None:
    ada, key = await api.account("ada"), await api.key(Scope.SESSIONS_INTROSPECT)
    await execute(api.service.engine, "DELETE FROM api_keys")

    for header, fields in ((f"Bearer {key}", {}), (basic("a", key), {}), (None, {"client_secret": key})):
        refused = await ask(api, {"token": ada.token, **fields}, header)
        assert error_of(refused) == (401, "invalid_client")


async def test_introspect_with_a_key_without_the_scope_or_a_session_is_forbidden_in_every_form(
    api: Api,
) -> None:
    ada, key = await api.account("ada"), await api.key(Scope.USERS_READ, Scope.USERS_WRITE)

    for secret in (key, ada.token):
        for header, fields in (
            (f"Bearer {secret}", {}),
            (basic("a", secret), {}),
            (None, {"client_secret": secret}),
        ):
            refused = await ask(api, {"token": ada.token, **fields}, header)
            assert error_of(refused) == (403, "forbidden")


@pytest.mark.parametrize("path", ["/v1/users", "/v1/users/me", "/v1/forward-auth"])
async def test_use_basic_or_a_secret_in_a_body_elsewhere_is_rejected(api: Api, path: str) -> None:
    key = await api.key(Scope.USERS_READ)

    assert error_of(await api.get(path, headers={"Authorization": basic("a", key)})) == (
        401,
        "unauthenticated",
    )


async def test_send_a_field_twice_is_rejected_only_if_it_counts(api: Api) -> None:
    """Source: RFC 6749 3.2; RFC 8707 2 (`resource` may be repeated)."""
    ada, key = await api.account("ada"), await api.key(Scope.SESSIONS_INTROSPECT)
    resources = [("token", ada.token), ("client_secret", key), ("resource", "a"), ("resource", "b")]

    assert (await ask(api, resources)).json()["active"] is True
    assert error_of(await ask(api, [*resources, ("client_secret", key)])) == (400, "malformed_request")


async def test_send_a_secret_in_json_is_no_authentication(api: Api) -> None:
    ada, key = await api.account("ada"), await api.key(Scope.SESSIONS_INTROSPECT)

    refused = await api.post("/v1/introspect", {"token": ada.token, "client_secret": key})

    assert error_of(refused) == (401, "invalid_client")
