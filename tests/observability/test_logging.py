"""What stands in a log line, and what never does."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any, cast
from uuid import UUID

import pytest
import structlog

from service.observability.access_log import RequestRecord, entry_from, log_request
from service.observability.logging import configure_logs, configure_server_logs
from settings.log import LogSettings
from tests.support.api import PASSWORD, Api
from tests.support.settings import settings_for_tests

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Written:
    """Reads what was logged."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def read(self) -> list[dict[str, Any]]:
        """Give the lines written since the last time; the tests' own client logs too, and does not count."""
        text = self.stream.getvalue()
        self.stream.seek(0)
        self.stream.truncate()
        lines = [json.loads(line) for line in text.splitlines()]
        return [line for line in lines if not line["event"].startswith("HTTP Request")]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Written]:
    """What is logged as JSON from now on."""
    before, root, written = structlog.get_config(), logging.getLogger(), Written()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(sys, "stderr", written.stream)
    configure_logs(settings_for_tests(log=LogSettings(format="json")))
    structlog.configure(cache_logger_on_first_use=False)
    structlog.contextvars.clear_contextvars()
    yield written
    structlog.configure(**before)
    root.handlers[:] = handlers
    root.setLevel(level)


async def test_log_a_request_writes_json_with_request_and_trace_id(api: Api, lines: Written) -> None:
    await api.account("ada")
    lines.read()
    answer = await api.log_in("ada", "not the password at all")
    traced = await api.get("/v1/users/me", headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})

    written = lines.read()
    request_id = answer.headers["x-request-id"]
    assert {line["event"] for line in written if line["request_id"] == request_id} == {
        "login.failed",
        "request",
    }
    (access,) = [line for line in written if line["request_id"] == traced.headers["x-request-id"]]
    assert (access["trace_id"], access["status"], access["level"]) == (TRACE, 401, "info")
    assert access["route"] == "/v1/users/{user_id}"
    assert str(access["at"]).endswith("Z")


@pytest.mark.parametrize(
    "value", ["", "00-" + "0" * 32 + "-00f067aa0ba902b7-01", '00-"}\n{"-1-01', "x" * 400]
)
async def test_log_a_request_with_a_bad_traceparent_takes_no_trace_id(
    api: Api, lines: Written, value: str
) -> None:
    lines.read()
    await api.get("/v1/users/me", headers={"traceparent": value.replace("\n", "\t")})
    (access,) = lines.read()
    assert "trace_id" not in access


async def test_log_requests_tells_no_secret_and_no_name(api: Api, lines: Written) -> None:
    ada = await api.account("ada-in-the-logs")
    lines.read()
    await api.log_in(ada.login_id)
    await api.log_in(ada.login_id, "a wrong password it is")
    await api.by(ada).get("/v1/users/me", params={"token": ada.token})
    await api.post("/v1/sessions", {"login_id": ada.login_id, "password": ["no text"]})

    written = lines.read()
    assert len(written) >= 4
    secrets = (ada.login_id, ada.token, PASSWORD, "a wrong password it is", "no text", "Ada")
    assert not [secret for secret in secrets if secret in json.dumps(written)]


@pytest.mark.parametrize(
    "record",
    [
        RequestRecord("GET", "/v1/users/{user_id}", 200, 0.0012345, "id", None, UUID(int=7)),
        RequestRecord("POST", None, 503, 0.2, "id", None, None, f"00-{TRACE}-00f067aa0ba902b7-01"),
    ],
    ids=["plain", "traced"],
)
def test_log_a_request_past_the_logger_writes_the_same(
    lines: Written, record: RequestRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", lines.stream)
    line = entry_from(record, record.method)
    log_request(line)
    tell = configure_server_logs(settings_for_tests(log=LogSettings(format="json")))
    tell(line)
    cast(Any, tell).__self__.drain()

    slow, fast = lines.read()
    assert slow.pop("at")[:16] == fast.pop("at")[:16]
    assert fast == slow


@pytest.mark.parametrize(("chosen", "told"), [("info", 1), ("warning", 0)])
def test_log_a_request_of_a_server_heeds_the_level(
    lines: Written, chosen: str, told: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", lines.stream)
    settings = settings_for_tests(log=LogSettings.model_validate({"format": "json", "level": chosen}))
    tell = configure_server_logs(settings)
    structlog.configure(cache_logger_on_first_use=False)
    tell(entry_from(RequestRecord("GET", "/v1/users", 200, 0.1, "id", None, None), "GET"))
    if told:
        cast(Any, tell).__self__.drain()
    assert len(lines.read()) == told
