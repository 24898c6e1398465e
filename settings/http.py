"""Settings of the HTTP server."""

import re
from ipaddress import ip_address
from typing import Annotated

from pydantic import AfterValidator, Field

from settings.section import Section
from settings.values import Constraint, Duration, Networks, Origins, duration

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME_OR_IPV4 = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")


def _require_host(raw: str) -> str:
    """Return an IP address or a host name. Raises: ValueError for anything else, such as one with a port."""
    try:
        is_host = bool(ip_address(raw)) if ":" in raw else _NAME_OR_IPV4.fullmatch(raw) is not None
    except ValueError:  # its message quotes the value
        is_host = False
    if not is_host:
        raise ValueError
    return raw


Host = Annotated[
    str,
    Field(max_length=253),
    AfterValidator(_require_host),
    Constraint("an IP address or a host name, without port"),
]


class HttpSettings(Section):
    """Address, worker processes, proxies, browsers and time limits of requests."""

    host: Host = Field(default="127.0.0.1", description="Address to listen on; 0.0.0.0 means every address.")
    port: int = Field(default=8000, ge=1, le=65535, description="Port to listen on.")
    workers: int = Field(default=1, ge=1, le=64, description="Worker processes.")
    trusted_proxies: Networks = Field(
        default=(),
        description="Networks whose X-Forwarded-For is trusted. Unset: the peer is the client.",
    )
    cors_origins: Origins = Field(
        default=(), description="Origins whose pages may call the API from a browser."
    )
    cookies: bool = Field(
        default=False,
        description="Let browsers keep the session in a cookie: `POST /v1/sessions` with `cookie: true`. "
        "Pages of `ROLLCALL_HTTP__CORS_ORIGINS` may use it too.",
    )
    connections: int = Field(
        default=4096,
        ge=16,
        le=1_000_000,
        description="Open connections of a worker process; at most what its hard limit of open files leaves.",
    )
    connections_per_network: int = Field(
        default=512,
        ge=1,
        le=1_000_000,
        description="Of these, those of one client network. Trusted proxies are not limited.",
    )
    docs: bool | None = Field(
        default=None,
        description="Serve the API documentation at `/docs` and `/openapi.json`. Unset: on loopback only.",
    )
    drain_delay: Duration = duration(
        "0s",
        "0s",
        "5m",
        "After SIGTERM, time to accept connections while `/health/ready` already returns 503.",
    )
    drain_timeout: Duration = duration(
        "30s", "0s", "10m", "After that, time for requests in flight to finish."
    )
    body_timeout: Duration = duration("10s", "100ms", "5m", "Time for a client to send the body.")
    request_timeout: Duration = duration(
        "9s",
        "200ms",
        "15m",
        "Time for a request before it gets 503; longer than the command timeout of the database.",
    )

    @property
    def serves_docs(self) -> bool:
        """Whether the documentation is served. Source: OWASP ASVS 5.0 13.4.5."""
        return self.is_loopback if self.docs is None else self.docs

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"
