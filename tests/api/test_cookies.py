"""Session cookies: what sets and clears them, and what a page of another site cannot do with them."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from service.api.cookies import CookieSessions
from service.api.http.errors import MalformedRequest
from service.domain.errors import Forbidden
from settings.http import HttpSettings
from tests.support.api import PASSWORD, Account, Api, error_of, faults_of, serving
from tests.support.databases import execute, fetch_values
from tests.support.second_factors import enroll
from tests.support.settings import settings_for_tests

APP, OWN, EVIL = "https://app.example.org", "https://rollcall.test", "https://evil.example"
NAME = "__Host-rollcall"
CLEARED = f"{NAME}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


@pytest_asyncio.fixture
async def browser(api: Api, shared_database: str) -> AsyncIterator[Api]:
    """A client of a service that sets cookies; it keeps none by itself."""
    http = HttpSettings(cookies=True, cors_origins=APP)  # type: ignore[arg-type]
    async with serving(settings_for_tests(http=http), shared_database) as running, running.client() as client:
        client.cookies = _no_cookies()
        yield Api(client, running.service)


def _no_cookies() -> httpx.Cookies:
    cookies = httpx.Cookies()
    cookies.extract_cookies = lambda response: None  # type: ignore[method-assign]
    return cookies


def cookie_of(account: Account | str) -> dict[str, str]:
    token = account if isinstance(account, str) else account.token
    return {"Cookie": f"theme=dark; {NAME}={token}; x=1"}


async def log_in(browser: Api, **headers: str) -> httpx.Response:
    credentials = {"login_id": "ada", "password": PASSWORD, "cookie": True}
    return await browser.post("/v1/sessions", credentials, headers=headers)


async def test_login_with_a_cookie_sets_it_and_returns_no_token(browser: Api) -> None:
    """Source: OWASP ASVS 5.0 3.3.1, 3.3.2, 3.3.3, 3.3.4."""
    await browser.account("ada")

    answer = await log_in(browser, **SAME_ORIGIN)

    assert answer.status_code == 201
    assert "token" not in answer.json()
    assert "rcs_" not in answer.text
    pair, *attributes = answer.headers["Set-Cookie"].split("; ")
    name, token = pair.split("=")
    month = 30 * 24 * 60 * 60
    assert (name, token[:4]) == (NAME, "rcs_")
    assert attributes == ["Path=/", "Secure", "HttpOnly", "SameSite=Lax", f"Max-Age={month}"]
    current = await browser.get("/v1/sessions/current", headers=cookie_of(token))
    assert current.json()["user"]["login_id"] == "ada"


async def test_login_without_a_cookie_returns_the_token_and_sets_none(browser: Api) -> None:
    await browser.account("ada")
    answer = await browser.log_in("ada")
    assert answer.json()["token"].startswith("rcs_")
    assert "Set-Cookie" not in answer.headers


async def test_login_from_the_session_of_the_cookie_ends_that_one(browser: Api) -> None:
    ada = await browser.account("ada")
    assert (await log_in(browser, **SAME_ORIGIN, **cookie_of(ada))).status_code == 201
    assert error_of(await browser.by(ada).get("/v1/users/me")) == (401, "invalid_token")


async def test_step_up_with_the_cookie_sets_a_new_one_and_returns_no_token(browser: Api) -> None:
    """Source: OWASP ASVS 5.0 7.2.4."""
    ada = await enroll(browser, await browser.account("ada"), totp=True)
    headers = cookie_of(ada.account) | SAME_ORIGIN
    answer = await browser.post("/v1/sessions/current/step-up", {"totp": ada.code()}, headers=headers)
    assert answer.status_code == 200
    assert "rcs_" not in answer.text
    pair, *attributes = answer.headers["Set-Cookie"].split("; ")
    name, token = pair.split("=")
    assert (name, attributes[:-1]) == (NAME, ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"])
    ended = await browser.get("/v1/sessions/current", headers=cookie_of(ada.account))
    assert error_of(ended) == (401, "invalid_token")
    assert (await browser.get("/v1/sessions/current", headers=cookie_of(token))).status_code == 200


@pytest.mark.parametrize(
    "headers", [{}, {"Origin": EVIL}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}]
)
async def test_login_with_a_cookie_by_another_site_is_rejected(browser: Api, headers: dict[str, str]) -> None:
    """Nobody is logged in to an account of somebody else without knowing."""
    await browser.account("ada")
    refused = await log_in(browser, **headers)
    assert error_of(refused) == (403, "forbidden")
    assert "Set-Cookie" not in refused.headers
    assert await fetch_values(browser.service.engine, "SELECT count(*) FROM sessions") == [(1,)]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": EVIL},
        {"Origin": "null"},
        {"Origin": "https://app.example.org.evil.example"},
        {"Origin": "http://app.example.org"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "cross-site", "Origin": EVIL},
    ],
)
async def test_change_with_the_cookie_by_another_site_is_rejected(
    browser: Api, headers: dict[str, str]
) -> None:
    ada = await browser.account("ada")
    sent = {**cookie_of(ada), **headers}
    for refused in (
        await browser.patch("/v1/users/me", {"name": "Mallory"}, headers=sent),
        await browser.delete("/v1/sessions/current", headers=sent),
        await browser.post("/v1/tokens", {"audience": "x"}, headers=sent),
    ):
        assert error_of(refused) == (403, "forbidden")
    assert await fetch_values(browser.service.engine, "SELECT name FROM users") == [("Ada",)]


@pytest.mark.parametrize(
    "headers",
    [
        SAME_ORIGIN,
        {"Origin": APP},
        {"Origin": OWN},
        {"Origin": APP, "Sec-Fetch-Site": "cross-site"},
        {"Origin": OWN, "Sec-Fetch-Site": "same-origin"},
    ],
)
async def test_change_with_the_cookie_by_an_allowed_page_is_made(
    browser: Api, headers: dict[str, str]
) -> None:
    ada = await browser.account("ada")
    sent = {**cookie_of(ada), **headers}
    assert (await browser.patch("/v1/users/me", {"name": "Ada L."}, headers=sent)).status_code == 200


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_read_with_the_cookie_needs_no_origin(browser: Api, method: str) -> None:
    ada = await browser.account("ada")
    headers = {**cookie_of(ada), "Sec-Fetch-Site": "cross-site"}
    assert (await browser.request(method, "/v1/users/me", headers=headers)).status_code == 200


async def test_send_cookie_and_token_is_rejected(browser: Api) -> None:
    ada = await browser.account("ada")
    refused = await browser.by(ada).get("/v1/users/me", headers=cookie_of(ada))
    assert error_of(refused) == (400, "malformed_request")
    assert "not both" in refused.json()["detail"]


async def test_send_the_cookie_twice_counts_as_none(browser: Api) -> None:
    ada, eve = await browser.account("ada"), await browser.account("eve")
    headers = {"Cookie": f"{NAME}={ada.token}; {NAME}={eve.token}"}
    assert error_of(await browser.get("/v1/users/me", headers=headers)) == (401, "unauthenticated")


async def test_send_the_cookie_in_two_header_lines_counts_as_none(browser: Api) -> None:
    """A browser sends one line; two may come from whatever stands between. Source: RFC 9113 8.2.3."""
    ada, eve = await browser.account("ada"), await browser.account("eve")
    lines = [("Cookie", f"{NAME}={ada.token}"), ("Cookie", f"{NAME}={eve.token}")]
    request = browser.client.build_request("GET", "/v1/users/me", headers=lines)
    assert error_of(await browser.client.send(request)) == (401, "unauthenticated")
    lines = [("Cookie", f"{NAME}={ada.token}"), ("Cookie", "theme=dark")]
    request = browser.client.build_request("GET", "/v1/users/me", headers=lines)
    assert (await browser.client.send(request)).status_code == 200


async def test_logout_with_the_cookie_ends_the_session_and_clears_it(browser: Api) -> None:
    ada = await browser.account("ada")
    ended = await browser.delete("/v1/sessions/current", headers={**cookie_of(ada), **SAME_ORIGIN})
    assert (ended.status_code, ended.headers["Set-Cookie"]) == (204, CLEARED)
    assert error_of(await browser.by(ada).get("/v1/users/me")) == (401, "invalid_token")


async def test_logout_with_a_token_sets_no_cookie(browser: Api) -> None:
    ended = await browser.by(await browser.account("ada")).delete("/v1/sessions/current")
    assert "Set-Cookie" not in ended.headers


async def test_read_after_the_session_has_ended_clears_the_cookie(browser: Api) -> None:
    ada = await browser.account("ada")
    await execute(browser.service.engine, "UPDATE sessions SET expires_at = now()")
    refused = await browser.get("/v1/users/me", headers=cookie_of(ada))
    assert error_of(refused) == (401, "invalid_token")
    assert refused.headers["Set-Cookie"] == CLEARED
    assert "Set-Cookie" not in (await browser.by(ada).get("/v1/users/me")).headers


async def test_cookie_of_a_service_without_cookies_is_ignored(api: Api) -> None:
    ada = await api.account("ada")
    assert error_of(await api.get("/v1/users/me", headers=cookie_of(ada))) == (401, "unauthenticated")
    assert (await api.by(ada).get("/v1/users/me", headers=cookie_of(ada))).status_code == 200
    assert faults_of(await log_in(api, **SAME_ORIGIN)) == [("/cookie", "not_enabled")]


@pytest.mark.parametrize(
    ("origin", "expected"), [(APP, "true"), (EVIL, None)], ids=["allowed origin", "another origin"]
)
async def test_cors_lets_pages_of_allowed_origins_alone_send_the_cookie(
    browser: Api, origin: str, expected: str | None
) -> None:
    ada = await browser.account("ada")
    answer = await browser.get("/v1/users/me", headers={**cookie_of(ada), "Origin": origin})
    preflight = await browser.request(
        "OPTIONS", "/v1/users/me", headers={"Origin": origin, "Access-Control-Request-Method": "PATCH"}
    )
    for response in (answer, preflight):
        assert response.headers.get("Access-Control-Allow-Credentials") == expected
        assert response.headers.get("Access-Control-Allow-Origin") == (origin if expected else None)


def fields(**values: str) -> dict[bytes, bytes]:
    return {name.replace("_", "-").encode(): value.encode() for name, value in values.items()}


def test_own_origin_is_the_public_url_if_there_is_one() -> None:
    cookies = CookieSessions(is_enabled=True, own_origin="https://accounts.example.org")
    cookies.require_allowed_page(fields(origin="https://accounts.example.org", host="inner"))
    with pytest.raises(Forbidden):
        cookies.require_allowed_page(fields(origin="https://inner", host="inner"))


@pytest.mark.parametrize(
    "cookie", ["", "x=1", f"{NAME}", f"{NAME}=", f"x{NAME}=rcs_a", f"{NAME}x=rcs_a", f"x={NAME}"]
)
def test_header_without_the_cookie_has_no_token(cookie: str) -> None:
    assert CookieSessions(is_enabled=True).authorization_in(fields(cookie=cookie), "POST") is None


def test_cookie_stands_for_a_bearer_token() -> None:
    cookies: Any = CookieSessions(is_enabled=True)
    assert cookies.authorization_in(fields(cookie=f"a=b;{NAME}=rcs_a"), "GET") == b"Bearer rcs_a"
    with pytest.raises(MalformedRequest):
        cookies.authorization_in(fields(cookie=f"{NAME}=rcs_a", authorization="Basic x"), "GET")
