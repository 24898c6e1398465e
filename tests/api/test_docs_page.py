"""The documentation page works without a network and under its own policy."""

import asyncio
import json
import re
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from html.parser import HTMLParser
from pathlib import Path

import pytest

import service.api.openapi
from service.api.openapi.docs_page import ASSETS, DOCS_PAGE, DOCS_POLICY
from tests.support.api import Api, RunningService
from tests.support.servers import listening

DIRECTORY = Path(service.api.openapi.__file__ or "").with_name("assets")
CSS_ADDRESS = re.compile(rb"""url\(\s*["']?([^"')]{0,40})|@import[^;]{0,80}""")


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self.tag = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tag = tag
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href"}]
        self.inline += [name for name, _ in attrs if name.startswith("on") or name == "style"]

    def handle_data(self, data: str) -> None:
        if self.tag in {"script", "style"} and data.strip():
            self.inline.append(data)


@pytest.fixture
def page() -> Page:
    parsed = Page()
    parsed.feed(DOCS_PAGE.decode())
    return parsed


def test_page_loads_nothing_but_the_assets(page: Page) -> None:
    assert sorted(page.addresses) == sorted(["data:,", *ASSETS])


async def test_read_page_or_metrics_says_its_charset_once(api: Api) -> None:
    types = [(await api.get(path)).headers["Content-Type"] for path in ("/docs", "/metrics")]

    assert types == ["text/html; charset=utf-8", "text/plain; version=0.0.4; charset=utf-8"]


def test_page_has_nothing_inline(page: Page) -> None:
    assert page.inline == []


@pytest.mark.parametrize("path", ASSETS)
def test_assets_give_their_bytes_and_types(path: str) -> None:
    content_type, load = ASSETS[path]

    assert content_type == {"js": "text/javascript", "css": "text/css"}[path.rpartition(".")[2]] + (
        "; charset=utf-8"
    )
    assert len(load()) > 100


def test_style_sheet_loads_nothing_from_elsewhere() -> None:
    style = ASSETS["/docs/swagger-ui.css"][1]()
    addresses = [found[1] for found in CSS_ADDRESS.finditer(style)]

    assert addresses
    assert all(address is not None and address.startswith(b"data:") for address in addresses)


def test_start_script_asks_the_service_alone() -> None:
    script = ASSETS["/docs/init.js"][1]().decode()

    assert re.findall(r'"(.*?)"', script) == ["/openapi.json", "#swagger-ui"]
    assert "validatorUrl: null" in script
    assert "queryConfigEnabled: false" in script


def test_policy_allows_scripts_from_files_alone() -> None:
    directives = dict(part.strip().partition(" ")[::2] for part in DOCS_POLICY.split(";"))

    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == directives["connect-src"] == "'self'"
    assert directives["frame-ancestors"] == "'none'"


def test_assets_come_with_their_licence_and_release() -> None:
    assert "Apache License" in (DIRECTORY / "LICENSE").read_text()
    assert "SmartBear" in (DIRECTORY / "NOTICE").read_text()
    version = (DIRECTORY / "VERSION").read_text().strip()
    assert version.encode() in (DIRECTORY / "swagger-ui-bundle.js").read_bytes()


@pytest.mark.slow
async def test_page_in_a_browser_shows_every_operation_and_asks_nobody_else(
    api: Api, running: RunningService, tmp_path: Path
) -> None:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert chromium, "this proof needs Chromium: apt-get install chromium"
    requests = tmp_path / "requests.json"

    async with listening(running) as server:
        host, port = server.address
        process = await asyncio.create_subprocess_exec(
            *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *(f"--user-data-dir={tmp_path / 'profile'}", f"--log-net-log={requests}"),
            *(f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {host}", "--virtual-time-budget=10000"),
            *("--dump-dom", f"http://{host}:{port}/docs"),
            stdout=PIPE,
            stderr=DEVNULL,
        )
        output, _ = await process.communicate()

    shown = output.decode()
    for operation in re.findall(r'"operationId": "(\w+)"', json.dumps(running.contract.document)):
        assert re.search(rf'id="operations-\w+-{operation}"', shown), operation
    own = f"http://{host}:{port}"
    # What the page asks for; what the browser asks for itself is no business of ours, and got nowhere.
    events = [event.get("params", {}) for event in json.loads(requests.read_text())["events"]]
    asked = {event["url"] for event in events if event.get("initiator") == own and "url" in event}
    asked = {url for url in asked if not url.startswith("data:")}
    assert asked >= {f"{own}{path}" for path in ("/openapi.json", *ASSETS)}
    assert {url for url in asked if not url.startswith(f"{own}/")} == set()
