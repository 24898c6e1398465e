"""The check of the container asks the service itself, whatever proxy the environment names."""

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from service.healthcheck import main

STATUSES = {"/health/live": 200, "/health/ready": 503}


class Handler(BaseHTTPRequestHandler):
    """Responds as a service that is alive and not ready."""

    def do_GET(self) -> None:
        self.send_response(STATUSES[self.path])
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("ROLLCALL_HTTP__PORT", str(server.server_port))
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(("arguments", "status"), [([], 0), (["live"], 0), (["ready"], 1)])
@pytest.mark.parametrize("host", ["", "0.0.0.0", "127.0.0.1"])
def test_check_behind_a_proxy_asks_the_service_itself(
    monkeypatch: pytest.MonkeyPatch, port: int, host: str, arguments: list[str], status: int
) -> None:
    monkeypatch.setenv("ROLLCALL_HTTP__HOST", host)
    monkeypatch.setattr(sys, "argv", ["healthcheck", *arguments])
    assert main() == status


@pytest.mark.parametrize("port", ["1", "many"])
def test_check_without_service_fails_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], port: str
) -> None:
    monkeypatch.setenv("ROLLCALL_HTTP__PORT", port)
    monkeypatch.setattr(sys, "argv", ["healthcheck"])
    assert main() == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
