"""An HTTP client for proofs: it reports what a response, or its absence, says about the write."""

import asyncio
import ssl
from dataclasses import dataclass
from enum import StrEnum
from time import perf_counter
from typing import Any, Final

import httpx

MAX_REQUEST_S: Final = 10.0
"""The service ends every request within this time."""

_TIMEOUT_S: Final = 20.0
_NOTHING_CHANGED: Final = frozenset({"database_unavailable", "hashing_busy"})
"""Codes of a 503 after which nothing has changed."""
_NO_RESPONSE: Final = (httpx.NetworkError, httpx.RemoteProtocolError, httpx.TimeoutException, TimeoutError)
_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Never used, but loading certificates for each client would take longer than its requests."""


class Outcome(StrEnum):
    """What is known of a write after its request."""

    OK = "ok"
    REJECTED = "rejected"
    """It has not happened, and will not."""
    UNKNOWN = "unknown"
    """No response, or one that promises nothing."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a request came to."""

    outcome: Outcome
    status: int
    """0 without a response."""
    body: Any
    seconds: float

    @property
    def summary(self) -> str:
        """The status with the problem's code, or `none`."""
        code = self.body.get("code") if isinstance(self.body, dict) else None
        return f"{self.status} {code}" if code else str(self.status or "none")


class ServiceClient:
    """A client with an address, and a token if it has one; each request has a connection of its own."""

    def __init__(self, port: int, token: str | None = None, address: str = "10.0.0.1") -> None:
        self._http = httpx.AsyncClient(**client_options(f"http://127.0.0.1:{port}"))
        self._token = token
        self._address = address

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = None,
        idempotency_key: str | None = None,
    ) -> Result:
        """Send a request and return what it came to."""
        request = self._build(method, path, body, token, idempotency_key)
        started_at = perf_counter()
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                response = await self._http.send(request)
        except httpx.ConnectError:
            return Result(Outcome.REJECTED, 0, None, perf_counter() - started_at)
        except _NO_RESPONSE:
            return Result(Outcome.UNKNOWN, 0, None, perf_counter() - started_at)
        content = response.json() if response.content else None
        outcome = _outcome_of(response.status_code, content)
        return Result(outcome, response.status_code, content, perf_counter() - started_at)

    def raw_request(self, method: str, path: str, body: object = None, *, token: str | None = None) -> bytes:
        """Return the bytes of a request, to be sent in part or slowly."""
        request = self._build(method, path, body, token, None)
        fields = b"".join(name + b": " + value + b"\r\n" for name, value in request.headers.raw)
        return f"{method} {path} HTTP/1.1\r\n".encode() + fields + b"\r\n" + request.content

    def _build(
        self, method: str, path: str, body: object, token: str | None, idempotency_key: str | None
    ) -> httpx.Request:
        headers = {"X-Forwarded-For": self._address}
        if token or self._token:
            headers["Authorization"] = f"Bearer {token or self._token}"
        if idempotency_key:
            headers["Idempotency-Key"] = idempotency_key
        return self._http.build_request(method, path, json=body, headers=headers)


def client_options(url: str) -> dict[str, Any]:
    """Return httpx options for a service on loopback: no proxy, no certificates, no kept connections."""
    return {
        "base_url": url,
        "timeout": _TIMEOUT_S,
        "trust_env": False,
        "verify": _TLS,
        "limits": httpx.Limits(max_keepalive_connections=0),
    }


def _outcome_of(status: int, body: Any) -> Outcome:
    if 200 <= status < 300:
        return Outcome.OK
    if 400 <= status < 500 or (status == 503 and body["code"] in _NOTHING_CHANGED):
        return Outcome.REJECTED
    return Outcome.UNKNOWN
