"""Where the service listens, and what it accepts from whom."""

from datetime import timedelta
from ipaddress import ip_address
from typing import Annotated

from pydantic import Field

from settings.section import Section
from settings.values import Duration, Expected, Networks, Origins

Host = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9:._-]{1,253}$"),
    Expected("an IP address or a host name, without port"),
]


class HttpSettings(Section):
    """The listener: address, worker processes, proxies, browsers, and how long a request may take."""

    host: Host = Field(default="127.0.0.1", description="The address to listen on; 0.0.0.0 for all of them.")
    port: int = Field(default=8000, ge=1, le=65535, description="The port to listen on.")
    workers: int = Field(default=1, ge=1, le=64, description="Worker processes.")
    trusted_proxies: Networks = Field(
        default=(),
        description="Networks whose X-Forwarded-For is believed; without, the peer is the client.",
    )
    cors_origins: Origins = Field(
        default=(), description="Web pages that may call the service from a browser."
    )
    docs: bool = Field(default=True, description="Whether the interactive API documentation is served.")
    drain_delay: Duration = Field(
        default=timedelta(0),
        ge=timedelta(0),
        le=timedelta(minutes=5),
        description="How long the service goes on accepting after the signal to stop, already not ready.",
    )
    drain_timeout: Duration = Field(
        default=timedelta(seconds=30),
        ge=timedelta(0),
        le=timedelta(minutes=10),
        description="How long requests under way may take to finish after that.",
    )
    body_timeout: Duration = Field(
        default=timedelta(seconds=10),
        ge=timedelta(milliseconds=100),
        le=timedelta(minutes=5),
        description="How long a client may take to send the body.",
    )
    request_timeout: Duration = Field(
        default=timedelta(seconds=9),
        ge=timedelta(milliseconds=200),
        le=timedelta(minutes=15),
        description="When a request is answered 503; longer than the database's command timeout.",
    )

    @property
    def is_loopback(self) -> bool:
        """Whether nobody but this machine can reach the listener."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"
