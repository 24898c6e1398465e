"""The metadata that other services discover, and what depends on the public address."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio

from service.domain.keys import Scope
from settings.introspection import IntrospectionSettings
from tests.support.api import Api, error_of, serving
from tests.support.databases import execute, fetch_values
from tests.support.settings import settings_for_tests

ISSUER = "https://accounts.example.org"
PATHS = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")


@pytest_asyncio.fixture
async def public(api: Api, shared_database: str) -> AsyncIterator[Api]:
    """A client of a service that knows its address and caps the expiry that it tells."""
    introspection = IntrospectionSettings(max_age=timedelta(minutes=5))
    settings = settings_for_tests(public_url=f"{ISSUER}/", introspection=introspection)
    async with serving(settings, shared_database) as running, running.client() as client:
        yield Api(client, running.service)


@pytest.mark.parametrize("path", PATHS)
async def test_get_metadata_with_a_public_url_names_the_endpoints(public: Api, path: str) -> None:
    """Go's zitadel/oidc discovers nothing without a token endpoint. Source: RFC 8414 2, 3."""
    secrets = ["client_secret_basic", "client_secret_post"]

    assert (await public.get(path)).json() == {
        "issuer": ISSUER,
        "introspection_endpoint": f"{ISSUER}/v1/introspect",
        "introspection_endpoint_auth_methods_supported": secrets,
        "revocation_endpoint": f"{ISSUER}/v1/revoke",
        "revocation_endpoint_auth_methods_supported": [*secrets, "none"],
        "token_endpoint": f"{ISSUER}/v1/tokens",
        "response_types_supported": [],
        "grant_types_supported": [],
    }


@pytest.mark.parametrize("path", PATHS)
async def test_get_metadata_without_a_public_url_is_not_found(api: Api, path: str) -> None:
    assert error_of(await api.get(path)) == (404, "not_found")


async def now(api: Api) -> int:
    """Return the time of the database."""
    ((seconds,),) = await fetch_values(api.service.engine, "SELECT extract(epoch FROM now())::bigint::text")
    return int(str(seconds))


async def test_introspect_with_a_maximum_age_caps_the_expiry_by_the_clock_of_the_database(
    public: Api,
) -> None:
    ada, key = await public.account("ada"), await public.key(Scope.SESSIONS_INTROSPECT)
    gateway = public.by(key)
    earliest = await now(public)

    told = [(await gateway.post("/v1/introspect", {"token": token})).json() for token in (ada.token, key)]

    latest = await now(public)
    for answer in told:
        assert earliest - 1 <= answer["exp"] - 300 <= latest
        assert answer["iss"] == ISSUER


async def test_introspect_a_session_that_ends_before_the_maximum_age_shows_its_end(public: Api) -> None:
    ada, key = await public.account("ada"), await public.key(Scope.SESSIONS_INTROSPECT)
    ends = "UPDATE sessions SET expires_at = now() + interval '1 minute'"
    await execute(public.service.engine, ends)
    end = "SELECT floor(extract(epoch FROM expires_at))::bigint FROM sessions"
    ((ends_at,),) = await fetch_values(public.service.engine, end)

    answer = (await public.by(key).post("/v1/introspect", {"token": ada.token})).json()

    assert answer["exp"] == ends_at
