"""Methods and media types: HEAD, OPTIONS, 405, `Accept`, and what stands on every answer."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from settings import Settings
from settings.http import HttpSettings
from settings.metrics import MetricsSettings
from settings.passwords import PasswordSettings
from tests.support.api import Api, RunningService, error_of, serving
from tests.support.settings import settings_for_tests

ORIGIN = "https://app.example"
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}


def allowed_on(running: RunningService) -> dict[str, set[str]]:
    """Return the methods of each path."""
    allowed: dict[str, set[str]] = {}
    for operation in running.app.operations:
        if operation.is_forwarded:  # serves every method
            continue
        allowed.setdefault(operation.path, set()).add(operation.method.value)
    return {path: methods | ({"HEAD"} if "GET" in methods else set()) for path, methods in allowed.items()}


def split(allow: str) -> set[str]:
    return set(allow.split(", "))


async def test_call_another_method_returns_405_with_allow_whatever_the_body(
    api: Api, running: RunningService
) -> None:
    allowed = allowed_on(running)
    assert len(allowed) > 20
    for template, methods in allowed.items():
        path = template.replace("{user_id}", "me").replace("{session_id}", "x").replace("{key_id}", "x")
        for method in [*(METHODS - methods), "TRACE", "PROPFIND"]:
            refused = await api.request(method, path, content=b"{" * 70_000)
            assert split(refused.headers["Allow"]) == methods | {"OPTIONS"}, (method, path)
            assert refused.status_code == 405
            if method != "HEAD":
                assert error_of(refused) == (405, "method_not_allowed")


async def test_call_for_options_names_every_method(api: Api, running: RunningService) -> None:
    for template, methods in allowed_on(running).items():
        answer = await api.request("OPTIONS", template)
        assert (answer.status_code, answer.content) == (204, b"")
        assert split(answer.headers["Allow"]) == methods | {"OPTIONS"}, template


async def test_head_responds_as_get_without_the_body(api: Api) -> None:
    admin = api.by(await api.admin())

    for path in ("/v1/users", "/v1/users/me", "/v1/keys", "/v1/users/nobody", "/nowhere", "/openapi.json"):
        got, head = await admin.get(path), await admin.request("HEAD", path)
        assert head.status_code == got.status_code
        assert head.content == b""
        for name in ("content-type", "content-length", "etag", "link"):
            assert head.headers.get(name) == got.headers.get(name), (path, name)


@pytest.mark.parametrize(
    "accept",
    [
        "*/*",
        "application/json",
        "text/html,application/xhtml+xml,*/*;q=0.8",
        "",
        "text/html",
        "text/event-stream",
        "image/avif,image/webp",
        "application/problem+json",
        "application/json;q=0",
        "nonsense",
    ],
)
async def test_send_any_accept_is_served(api: Api, accept: str) -> None:
    ada = api.by(await api.account("ada"))

    assert (await ada.get("/v1/users/me", headers={"Accept": accept})).status_code == 200
    anonymous = await api.get("/v1/users/me", headers={"Accept": accept})
    assert error_of(anonymous) == (401, "unauthenticated")
    assert (await ada.delete("/v1/sessions/current", headers={"Accept": accept})).status_code == 204


async def test_call_for_options_of_a_patched_resource_names_its_patch_types(api: Api) -> None:
    patched, other = await api.request("OPTIONS", "/v1/users/me"), await api.request("OPTIONS", "/v1/keys")

    assert patched.headers["Accept-Patch"] == "application/merge-patch+json, application/json"
    assert "Accept-Patch" not in other.headers


async def test_patch_in_another_media_type_names_those_that_are_taken(api: Api) -> None:
    ada = api.by(await api.account("ada"))
    text = {"Content-Type": "application/json-patch+json"}

    patch = await ada.request("PATCH", "/v1/users/me", content=b"{}", headers=text)
    post = await ada.request("POST", "/v1/sessions", content=b"{}", headers=text)

    assert error_of(patch) == error_of(post) == (415, "unsupported_media_type")
    assert patch.headers["Accept-Patch"] == "application/merge-patch+json, application/json"
    assert "application/merge-patch+json or application/json" in patch.json()["detail"]
    assert (post.headers["Accept"], "Accept-Patch" in post.headers) == ("application/json", False)


@pytest.mark.parametrize("path", ["/v1/sessions/current", "/v1/users/me"])
@pytest.mark.parametrize(("content", "status"), [(b"", 204), (b"{}", 204), (b" ", 400), (b"[]", 400)])
async def test_send_a_chunked_body_where_none_is_taken_is_rejected_unless_empty(
    api: Api, path: str, content: bytes, status: int
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield content

    ada = api.by(await api.account("ada"))

    answer = await ada.request("DELETE", path, content=chunks())

    assert answer.request.headers["Transfer-Encoding"] == "chunked"
    assert answer.status_code == status


@pytest.mark.parametrize("accept", ["*/*", "text/html,application/json", ""])
async def test_get_root_leads_to_the_page(api: Api, accept: str) -> None:
    answer = await api.get("/", headers={"Accept": accept})

    assert (answer.status_code, answer.headers["Location"]) == (308, "/docs")
    assert answer.headers["Vary"] == "accept"


async def test_get_root_as_json_gives_an_index(serve: Any, api: Api) -> None:
    asked = await api.get("/", headers={"Accept": "application/json"})
    without_page = await serve(settings_for_tests(http=HttpSettings(docs=False)), "/")

    index = {"name": "Rollcall", "health": "/health/ready"}
    assert (asked.status_code, asked.json()) == (200, {**index, "openapi": "/openapi.json", "docs": "/docs"})
    assert (without_page.status_code, without_page.json()) == (200, index)


async def test_response_names_no_software_or_release(api: Api) -> None:
    for path in ("/health/live", "/health/ready", "/v1/users/me", "/nowhere", "/v1/users?x=1"):
        answer = await api.get(path)
        shown = (answer.text + str(answer.headers)).lower()
        for word in ("litestar", "uvicorn", "python", "postgres", "rollcall/", "version"):
            assert word not in shown, (path, word)


async def test_health_responds_without_authentication_or_detail(api: Api) -> None:
    for path in ("/health/live", "/health/ready"):
        answer = await api.by("rcs_wrong").get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest_asyncio.fixture
async def serve(shared_database: str) -> AsyncIterator[Any]:
    """Serves the shared database with other settings, as long as the test runs."""

    async def asked(settings: Settings, path: str, **options: Any) -> httpx.Response:
        async with serving(settings, shared_database) as running, running.client() as client:
            return await client.request(options.pop("method", "GET"), path, **options)

    yield asked


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/docs/init.js", "/docs/swagger-ui.css"])
async def test_reference_when_switched_off_is_404(serve: Any, api: Api, path: str) -> None:
    assert (await api.get(path)).status_code == 200

    answer = await serve(settings_for_tests(http=HttpSettings(docs=False)), path)

    assert error_of(answer) == (404, "not_found")


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/metrics"])
async def test_reference_and_metrics_on_a_network_are_404_unless_asked_for(serve: Any, path: str) -> None:
    """Source: OWASP ASVS 5.0 13.4.5."""
    public = {"profile": "production", "passwords": PasswordSettings()}
    unset = settings_for_tests(**public, http=HttpSettings(host="0.0.0.0"))
    asked = settings_for_tests(
        **public, http=HttpSettings(host="0.0.0.0", docs=True), metrics=MetricsSettings(enabled=True)
    )

    assert error_of(await serve(unset, path)) == (404, "not_found")
    assert (await serve(asked, path)).status_code == 200


async def test_metrics_when_switched_off_are_404(serve: Any, api: Api) -> None:
    shown = await api.get("/metrics")
    assert shown.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert (await api.get("/docs")).headers["Content-Type"] == "text/html; charset=utf-8"
    assert "http_server_request_duration_seconds" in shown.text

    answer = await serve(settings_for_tests(metrics=MetricsSettings(enabled=False)), "/metrics")

    assert error_of(answer) == (404, "not_found")


async def test_cors_is_for_configured_origins_alone(serve: Any, api: Api) -> None:
    settings = settings_for_tests(http=HttpSettings(cors_origins=(ORIGIN,)))
    preflight = {"Origin": ORIGIN, "Access-Control-Request-Method": "DELETE"}

    asked = await serve(settings, "/v1/users", method="OPTIONS", headers=preflight)
    shared = await serve(settings, "/v1/users/me", headers={"Origin": ORIGIN})
    other = await serve(settings, "/v1/users/me", headers={"Origin": f"{ORIGIN}.evil"})
    closed = await api.get("/v1/users/me", headers={"Origin": ORIGIN})

    assert asked.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "DELETE" in asked.headers["Access-Control-Allow-Methods"]
    assert shared.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert shared.headers["Vary"] == "origin"
    for answer in (other, closed):
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_document_of_open_registration_tells_that_anybody_may_create_a_user(
    running: RunningService,
) -> None:
    assert {} not in running.contract.document["paths"]["/v1/users"]["post"]["security"]


async def test_document_is_served_as_it_is_made(serve: Any, running: RunningService) -> None:
    closed = running.contract.document
    opened = (await serve(settings_for_tests(registration="open"), "/openapi.json")).json()

    assert {} in opened["paths"]["/v1/users"]["post"]["security"]
    opened["paths"]["/v1/users"]["post"]["security"].remove({})
    assert opened == closed
