"""Log lines: their fields, and what never occurs in them."""

import io
import json
import logging
import re
import sys
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
import structlog

from service.observability import access_log
from service.observability.access_log import RequestRecord, entry_from, log_request
from service.observability.logging import configure_logs, configure_server_logs
from settings.log import LogSettings
from tests.support.api import PASSWORD, Api
from tests.support.settings import settings_for_tests

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class LogReader:
    """Reads the lines that were logged."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def read(self) -> list[dict[str, Any]]:
        """Return the lines written since the last call, but those of the tests' own client."""
        text = self.stream.getvalue()
        self.stream.seek(0)
        self.stream.truncate()
        lines = [json.loads(line) for line in text.splitlines()]
        return [line for line in lines if not line["event"].startswith("HTTP Request")]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[LogReader]:
    """What is logged as JSON from now on."""
    before, root, reader = structlog.get_config(), logging.getLogger(), LogReader()
    handlers, level = root.handlers[:], root.level
    sink = access_log.set_sink(lambda _entry: None)
    monkeypatch.setattr(sys, "stderr", reader.stream)
    configure_logs(settings_for_tests(log=LogSettings(format="json")))
    structlog.configure(cache_logger_on_first_use=False)
    structlog.contextvars.clear_contextvars()
    yield reader
    structlog.configure(**before)
    access_log.set_sink(sink)
    root.handlers[:] = handlers
    root.setLevel(level)


async def test_log_request_as_json_carries_request_and_trace_id(api: Api, lines: LogReader) -> None:
    await api.account("ada")
    lines.read()
    response = await api.log_in("ada", "not the password at all")
    traced = await api.get("/v1/users/me", headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})

    logged = lines.read()
    request_id = response.headers["x-request-id"]
    assert {line["event"] for line in logged if line["request_id"] == request_id} == {
        "login.failed",
        "request",
    }
    (access,) = [line for line in logged if line["request_id"] == traced.headers["x-request-id"]]
    assert (access["trace_id"], access["status"], access["level"]) == (TRACE, 401, "info")
    assert access["route"] == "/v1/users/{user_id}"
    assert access["network"] == "127.0.0.1/32"
    assert "client_request_id" not in access
    assert str(access["at"]).endswith("Z")


async def test_log_request_of_a_client_with_its_own_request_id_carries_both(
    api: Api, lines: LogReader
) -> None:
    lines.read()
    response = await api.get("/v1/users/me", headers={"X-Request-Id": "Root=1-67891233-abcdef"})

    (access,) = [line for line in lines.read() if line["event"] == "request"]
    assert access["request_id"] == response.headers["x-request-id"]
    assert access["client_request_id"] == "Root=1-67891233-abcdef"


@pytest.mark.parametrize(
    "value", ["", "00-" + "0" * 32 + "-00f067aa0ba902b7-01", '00-"}\n{"-1-01', "x" * 400]
)
async def test_log_request_with_a_malformed_traceparent_has_no_trace_id(
    api: Api, lines: LogReader, value: str
) -> None:
    lines.read()
    await api.get("/v1/users/me", headers={"traceparent": value.replace("\n", "\t")})
    (access,) = lines.read()
    assert "trace_id" not in access


async def test_log_requests_contains_no_secret_and_no_name(api: Api, lines: LogReader) -> None:
    ada = await api.account("ada-in-the-logs")
    lines.read()
    await api.log_in(ada.login_id)
    await api.log_in(ada.login_id, "a wrong password it is")
    await api.by(ada).get("/v1/users/me", params={"token": ada.token})
    await api.post("/v1/sessions", {"login_id": ada.login_id, "password": ["no text"]})

    logged = lines.read()
    assert len(logged) >= 4
    secrets = (ada.login_id, ada.token, PASSWORD, "a wrong password it is", "no text", "Ada")
    assert not [secret for secret in secrets if secret in json.dumps(logged)]


NETWORK = "198.51.100.7/32"
UNTRACED = RequestRecord("GET", "/v1/users/{user_id}", 200, 0.0012345, "id", NETWORK, UUID(int=7))
TRACED = RequestRecord("POST", None, 503, 0.2, "id", NETWORK, None, f"00-{TRACE}-00f067aa0ba902b7-01")


@pytest.mark.parametrize("record", [UNTRACED, TRACED], ids=["untraced", "traced"])
def test_log_request_of_a_server_writes_the_same_line_as_without_a_thread(
    lines: LogReader, record: RequestRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", lines.stream)
    entry = entry_from(record, record.method)
    log_request(entry)
    writer = configure_server_logs(settings_for_tests(log=LogSettings(format="json")))
    log_request(entry)
    writer.drain()

    direct, threaded = lines.read()
    assert direct == threaded
    assert direct["logger"] == "rollcall.access"


@pytest.mark.parametrize(("record", "route"), [(UNTRACED, "/v1/users/{user_id}"), (TRACED, "")])
def test_log_request_on_a_console_shows_the_same_fields(
    lines: LogReader, record: RequestRecord, route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", lines.stream)
    configure_logs(settings_for_tests(log=LogSettings(format="console")))
    log_request(entry_from(record, record.method))

    (line,) = re.sub(r"\x1b\[[0-9;]*m", "", lines.stream.getvalue()).splitlines()
    assert f"status={record.status}" in line
    assert f"route={route} " in line
    assert f"network={NETWORK}" in line
    assert ("trace_id=" in line) == (record.traceparent is not None)


@pytest.mark.parametrize(("level", "statuses"), [("info", [200, 503]), ("warning", [503]), ("error", [])])
def test_log_request_below_the_level_writes_nothing(
    lines: LogReader, level: str, statuses: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", lines.stream)
    settings = settings_for_tests(log=LogSettings.model_validate({"format": "json", "level": level}))
    writer = configure_server_logs(settings)
    for record in (UNTRACED, TRACED):
        log_request(entry_from(record, record.method))
    writer.drain()
    assert [line["status"] for line in lines.read()] == statuses


def test_log_events_of_any_logger_names_it(lines: LogReader) -> None:
    structlog.get_logger("rollcall.audit").info("user.created")
    structlog.get_logger("rollcall").warning("not_ready")
    logging.getLogger("a.library").warning("a sentence")

    assert [(line["logger"], line["event"]) for line in lines.read()] == [
        ("rollcall.audit", "user.created"),
        ("rollcall", "not_ready"),
        ("a.library", "a sentence"),
    ]
