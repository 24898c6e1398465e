"""Revocation over HTTP, as RFC 7009 has it."""

import pytest

from service.domain.keys import Scope
from tests.api.test_client_authentication import CHALLENGE, WRONG, ask, basic
from tests.support.api import Api, error_of
from tests.support.databases import fetch_values

PATH = "/v1/revoke"


async def test_revoke_a_session_ends_it_and_is_repeatable(api: Api) -> None:
    ada, key = await api.account("ada"), await api.key(Scope.USERS_READ)
    other = (await api.log_in("ada")).json()["token"]

    for _ in range(2):
        answer = await ask(api, {"token": ada.token}, basic("x", key), path=PATH)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["Content-Length"] == "0"

    assert (await api.by(ada).get("/v1/users/me")).status_code == 401
    assert (await api.by(other).get("/v1/users/me")).status_code == 200
    ended = "SELECT actor_kind, subject_id FROM events WHERE action = 'session.ended'"
    assert await fetch_values(api.service.engine, ended) == [("key", ada.id)]


@pytest.mark.parametrize("authorization", [None, "Bearer {token}"])
async def test_revoke_with_nothing_but_the_token_itself_ends_it(api: Api, authorization: str | None) -> None:
    ada = await api.account("ada", must_change=True)
    header = authorization.format(token=ada.token) if authorization else None

    assert (await ask(api, {"token": ada.token, "client_id": "spa"}, header, path=PATH)).status_code == 200
    assert (await api.by(ada).get("/v1/sessions/current")).status_code == 401


@pytest.mark.parametrize("fields", [{"client_secret": WRONG}, {}])
async def test_revoke_with_invalid_credentials_is_rejected_and_ends_nothing(
    api: Api, fields: dict[str, str]
) -> None:
    """Source: RFC 7009 2.1."""
    ada = await api.account("ada")
    header = None if fields else basic("x", WRONG)

    refused = await ask(api, {"token": ada.token, **fields}, header, path=PATH)

    assert error_of(refused) == (401, "invalid_client")
    assert refused.headers["WWW-Authenticate"] == CHALLENGE
    assert (await api.by(ada).get("/v1/users/me")).status_code == 200


@pytest.mark.parametrize("token", ["", "x", "rcs_x", "rcs_" + "A" * 43, "rcr_" + "A" * 43, "x" * 5000])
async def test_revoke_what_is_no_live_token_is_served_like_one_that_was(api: Api, token: str) -> None:
    """Source: RFC 7009 2.2."""
    answer = await ask(api, {"token": token}, path=PATH)

    assert (answer.status_code, answer.content) == (200, b"")


async def test_revoke_an_api_key_is_not_supported(api: Api) -> None:
    """Source: RFC 7009 2.2.1."""
    key = await api.key(Scope.USERS_READ)

    refused = await ask(api, {"token": key}, basic("x", key), path=PATH)

    assert error_of(refused) == (400, "unsupported_token_type")
    assert refused.json()["error"] == "unsupported_token_type"
    assert (await api.by(key).get("/v1/users")).status_code == 200
