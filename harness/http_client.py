"""The smallest HTTP client that tells what became of a request; one connection each."""

import asyncio
import json
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from tools.chaos.history import Outcome

LONGEST_S = 10.0
"""Within this every request has to end."""

_PATIENCE_S = 20.0
_PROMISES_NOTHING_CHANGED = frozenset({"database_unavailable", "hashing_busy"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, if anything."""

    outcome: Outcome
    status: int
    """0 when there was no answer."""
    body: Any
    seconds: float

    @property
    def word(self) -> str:
        """The answer in a word."""
        code = self.body.get("code") if isinstance(self.body, dict) else None
        return f"{self.status} {code}" if code else str(self.status or "none")


@dataclass(frozen=True, slots=True)
class Client:
    """Speaks to the service on this machine, as somebody from an address."""

    port: int
    token: str
    address: str = "10.0.0.1"

    async def request(
        self, method: str, path: str, body: object = None, *, token: str | None = None, key: str | None = None
    ) -> Answer:
        """Send a request and give what came of it."""
        started_at = perf_counter()
        head = self.message(method, path, body, token=token, key=key)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                raw = await self._exchange(head)
        except ConnectionRefusedError:
            return Answer(Outcome.REFUSED, 0, None, perf_counter() - started_at)
        except OSError:  # a time-out included
            raw = b""
        return _answer_of(raw, perf_counter() - started_at)

    def message(
        self, method: str, path: str, body: object = None, *, token: str | None = None, key: str | None = None
    ) -> bytes:
        """Give a request as it goes over the wire."""
        content = b"" if body is None else json.dumps(body).encode()
        lines = [
            f"{method} {path} HTTP/1.1",
            "Host: storm",
            "Connection: close",
            f"Authorization: Bearer {token or self.token}",
            f"X-Forwarded-For: {self.address}",
            *([f"Idempotency-Key: {key}"] if key else []),
            *(["Content-Type: application/json", f"Content-Length: {len(content)}"] if content else []),
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + content

    async def _exchange(self, message: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(message)
            await writer.drain()
            return await reader.read()
        finally:
            writer.transport.abort()


def _answer_of(raw: bytes, seconds: float) -> Answer:
    head, _, content = raw.partition(b"\r\n\r\n")
    if not _is_whole(head, content):
        return Answer(Outcome.UNKNOWN, 0, None, seconds)
    status = int(head.split(b" ", 2)[1])
    body = json.loads(content) if content else None
    return Answer(_outcome_of(status, body), status, body, seconds)


def _is_whole(head: bytes, content: bytes) -> bool:
    if not head.startswith(b"HTTP/1.1 "):
        return False
    lengths = [
        int(line.split(b":")[1])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length:")
    ]
    return len(content) == (lengths[0] if lengths else 0)


def _outcome_of(status: int, body: Any) -> Outcome:
    if 200 <= status < 300:
        return Outcome.OK
    if 400 <= status < 500 or (status == 503 and body["code"] in _PROMISES_NOTHING_CHANGED):
        return Outcome.REFUSED
    return Outcome.UNKNOWN
