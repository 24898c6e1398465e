"""A proxy that makes the service look like a later release of the same API version.

Every object of a response has one more field, every event an action and a kind of caller that today's
document does not list, and sessions end after 2038. Clients have to bear all of it (docs/api.md).
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Final
from urllib.parse import urlsplit

NEW_ACTION: Final = "passkey.enrolled"
NEW_ACTOR: Final = "robot"
AFTER_2038: Final = 2208988800
_NEW_FIELD: Final = {"added_in_a_later_release": {"is": ["unknown", 1, None]}}
_NEW_VALUES: Final = {"action": NEW_ACTION, "actor_kind": NEW_ACTOR, "exp": AFTER_2038}
_TIMEOUT_S: Final = 20.0
_HOP_BY_HOP: Final = frozenset({"connection", "content-length", "keep-alive", "transfer-encoding", "date"})


def newer(body: Any) -> Any:
    """Return the body of a response with what a later release may add to it."""
    if isinstance(body, list):
        return [newer(item) for item in body]
    if not isinstance(body, dict):
        return body
    members = {name: _NEW_VALUES.get(name, newer(value)) for name, value in body.items()}
    return {**members, **_NEW_FIELD}


@contextmanager
def newer_service(url: str) -> Iterator[str]:
    """Serve the proxy for a service on a free port of loopback; yield its address."""
    port = urlsplit(url).port

    class Handler(_Proxy):
        upstream_port = port or 80

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        serving = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()


class _Proxy(BaseHTTPRequestHandler):
    upstream_port: int
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _forward(self) -> None:
        body = self._read_body()
        connection = HTTPConnection("127.0.0.1", self.upstream_port, timeout=_TIMEOUT_S)
        try:
            connection.request(self.command, self.path, body or None, _end_to_end(self.headers))
            response = connection.getresponse()
            self._answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _forward  # noqa: N815 - names of http.server

    def _read_body(self) -> bytes:
        """Read a body with a length or in chunks (RFC 9112 7.1); Java's clients send both."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, status: int, headers: Message, content: bytes) -> None:
        if content and "json" in headers.get("Content-Type", ""):
            content = json.dumps(newer(json.loads(content))).encode()
        self.send_response_only(status)
        for name, value in _end_to_end(headers).items():
            self.send_header(name, value)
        if content or status not in (204, 304):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        """Log nothing."""


def _end_to_end(headers: Message) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}
