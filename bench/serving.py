"""The service under uvicorn, as in production, and under granian."""

import socket
from contextlib import ExitStack

from bench import fixtures, load, servers
from bench.comparison import Comparison, Plan, say

PATH = "/v1/users/me"
CONNECTIONS = (32, 128)
GRANIAN = "the same under granian"
_RESPONSE_TIMEOUT_S = 5.0
_BODY = b"token=unknown"
_HEAD = b"POST /v1/introspect HTTP/1.1\r\n"
_FIELDS = (
    f"Authorization: Bearer {fixtures.KEY}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    "Connection: close\r\n"
).encode()
_HOST = b"Host: 127.0.0.1\r\n"
_LENGTH = f"Content-Length: {len(_BODY)}\r\n".encode()
_CHUNKED = b"Transfer-Encoding: chunked\r\n"
_CHUNKS = f"{len(_BODY):x}\r\n".encode() + _BODY + b"\r\n0\r\n\r\n"
_START = _HEAD + _HOST + _FIELDS
RAW = {
    "well-formed": _START + _LENGTH + b"\r\n" + _BODY,
    "well-formed, in chunks": _START + _CHUNKED + b"\r\n" + _CHUNKS,
    "Content-Length and Transfer-Encoding": _START + _LENGTH + _CHUNKED + b"\r\n" + _CHUNKS,
    "two Content-Length that differ": _START + _LENGTH + b"Content-Length: 5\r\n\r\n" + _BODY,
    "two Content-Length that agree": _START + _LENGTH * 2 + b"\r\n" + _BODY,
    "no Host": _HEAD + _FIELDS + _LENGTH + b"\r\n" + _BODY,
    "two Hosts": _START + b"Host: example.org\r\n" + _LENGTH + b"\r\n" + _BODY,
    "a chunk whose size is no number": _START + _CHUNKED + b"\r\nzz\r\n" + _BODY + b"\r\n0\r\n\r\n",
    "a chunk longer than its size": _START + _CHUNKED + b"\r\n5\r\n" + _BODY + b"\r\n0\r\n\r\n",
    "a header of 200 kB": _START + b"X-Long: " + b"x" * 200_000 + b"\r\n" + _LENGTH + b"\r\n" + _BODY,
    "a bare line feed after a header": _START + b"X-A: b\nX-B: c\r\n" + _LENGTH + b"\r\n" + _BODY,
    "a space before the colon": _START + b"Content-Length : 13\r\n\r\n" + _BODY,
}
"""One introspection, well-formed and malformed."""


def measure(dsn: str, plan: Plan) -> list[Comparison]:
    with ExitStack() as stack:
        running = {
            "uvicorn": stack.enter_context(servers.rollcall(dsn, "uvicorn")),
            "granian": stack.enter_context(servers.under_granian(dsn)),
        }
        comparisons = [comparison for count in CONNECTIONS for comparison in _compare(running, count, plan)]
        print(_strictness(running))
    return comparisons


def _compare(running: dict[str, servers.Server], connections: int, plan: Plan) -> list[Comparison]:
    what = f"GET {PATH} under uvicorn, {connections} connections"
    units = {"": "/s", ": p99": "ms", ": processor time": "µs"}
    comparisons = [Comparison(what + name, GRANIAN, unit, None) for name, unit in units.items()]
    for number in range(plan.rounds + 1):
        seen = {name: _load(server, connections, plan) for name, server in running.items()}
        if number == 0:
            continue  # a round to warm up
        shown = (
            f"{name} {rate:.0f}/s p99 {p99:.1f} ms {spent:.0f} µs"
            for name, (rate, p99, spent) in seen.items()
        )
        say(f"  {what}, round {number} of {plan.rounds}: " + ", ".join(shown))
        for comparison, ours, theirs in zip(comparisons, seen["uvicorn"], seen["granian"], strict=True):
            comparison.add(ours, theirs)
    return comparisons


def _load(server: servers.Server, connections: int, plan: Plan) -> tuple[float, float, float]:
    """Return requests a second, their p99 in ms, and the server's processor time of one in µs."""
    before, requests = server.processor_s(), fixtures.reads(PATH)
    result = load.full_speed(server.port, requests, connections=connections, seconds=plan.seconds)
    if result.rejected:
        raise RuntimeError(f"{server.name} rejected {result.rejected} of {result.responses} requests")
    return result.rate, result.p99_ms, (server.processor_s() - before) / result.responses * 1e6


def _strictness(running: dict[str, servers.Server]) -> str:
    """Return a table of the responses of both servers to malformed requests."""
    rows = [
        f"| {what} | " + " | ".join(_status_of(server, raw) for server in running.values()) + " |"
        for what, raw in RAW.items()
    ]
    return "\n".join([f"| request | {' | '.join(running)} |", "|---|---|---|", *rows])


def _status_of(server: servers.Server, raw: bytes) -> str:
    with socket.create_connection(("127.0.0.1", server.port), timeout=_RESPONSE_TIMEOUT_S) as connection:
        try:
            connection.sendall(raw)
            started = connection.recv(12)
        except TimeoutError:
            return "nothing"
        except ConnectionError:
            return "disconnects"
    return started[9:12].decode() or "disconnects"
