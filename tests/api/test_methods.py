"""Methods and media types: HEAD, OPTIONS, 405, 406, and what stands on every answer."""

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
        allowed.setdefault(operation.path, set()).add(operation.method.value)
    return {path: methods | ({"HEAD"} if "GET" in methods else set()) for path, methods in allowed.items()}


def split(allow: str) -> set[str]:
    return set(allow.split(", "))


async def test_call_another_method_answers_405_with_allow_whatever_the_body(
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


async def test_ask_for_options_names_every_method(api: Api, running: RunningService) -> None:
    for template, methods in allowed_on(running).items():
        answer = await api.request("OPTIONS", template)
        assert (answer.status_code, answer.content) == (204, b"")
        assert split(answer.headers["Allow"]) == methods | {"OPTIONS"}, template


async def test_head_answers_as_get_without_the_body(api: Api) -> None:
    admin = api.by(await api.admin())

    for path in ("/v1/users", "/v1/users/me", "/v1/keys", "/v1/users/nobody", "/nowhere", "/openapi.json"):
        got, head = await admin.get(path), await admin.request("HEAD", path)
        assert head.status_code == got.status_code
        assert head.content == b""
        for name in ("content-type", "content-length", "etag", "link"):
            assert head.headers.get(name) == got.headers.get(name), (path, name)


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("*/*", 200),
        ("application/*", 200),
        ("application/json", 200),
        ("APPLICATION/JSON; charset=utf-8", 200),
        ("text/html, application/json;q=0.1", 200),
        ("text/html,application/xhtml+xml,*/*;q=0.8", 200),
        ("", 200),
        ("text/html", 406),
        ("application/xml", 406),
        ("application/vnd.rollcall.v2+json", 406),
        ("nonsense", 406),
    ],
)
async def test_accept_decides_before_anything_else(api: Api, accept: str, status: int) -> None:
    admin = api.by(await api.admin())

    assert (await admin.get("/v1/users/me", headers={"Accept": accept})).status_code == status
    anonymous = await api.get("/v1/users/me", headers={"Accept": accept})
    assert anonymous.status_code == (406 if status == 406 else 401)


async def test_answer_keeps_a_valid_request_id_and_makes_one_otherwise(api: Api) -> None:
    given = "01890a5d-ac96-774b-bcce-b302099a8057"

    kept = await api.get("/v1/users/me", headers={"X-Request-Id": given})
    made = await api.get("/v1/users/me", headers={"X-Request-Id": given.upper()})

    assert kept.headers["X-Request-Id"] == given
    assert kept.json()["instance"] == f"urn:uuid:{given}"
    assert made.headers["X-Request-Id"] != given


async def test_answer_names_no_software_or_release(api: Api) -> None:
    for path in ("/health/live", "/health/ready", "/v1/users/me", "/nowhere", "/v1/users?x=1"):
        answer = await api.get(path)
        shown = (answer.text + str(answer.headers)).lower()
        for word in ("litestar", "uvicorn", "python", "postgres", "rollcall/", "version"):
            assert word not in shown, (path, word)


async def test_health_answers_without_authentication_or_detail(api: Api) -> None:
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
    assert shown.headers["Content-Type"].startswith("text/plain; version=")
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


def test_document_of_open_registration_tells_that_anybody_may_create_an_account(
    running: RunningService,
) -> None:
    assert {} not in running.contract.document["paths"]["/v1/users"]["post"]["security"]


async def test_document_is_served_as_it_is_made(serve: Any, running: RunningService) -> None:
    closed = running.contract.document
    opened = (await serve(settings_for_tests(registration="open"), "/openapi.json")).json()

    assert {} in opened["paths"]["/v1/users"]["post"]["security"]
    opened["paths"]["/v1/users"]["post"]["security"].remove({})
    assert opened == closed
