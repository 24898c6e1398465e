"""Where the service can be measured."""

from collections.abc import Iterator

from pydantic import Field

from settings.http import Host
from settings.section import Section


class MetricsSettings(Section):
    """The Prometheus metrics: at `/metrics` beside the API, or on a port of their own."""

    enabled: bool = Field(default=True, description="Whether metrics are collected and served.")
    host: Host | None = Field(
        default=None, description="The address of the port of its own; unset: the same as for HTTP."
    )
    port: int | None = Field(
        default=None, ge=1, le=65535, description="A port of its own; unset: `/metrics` on the HTTP port."
    )

    def conflicts(self) -> Iterator[str]:
        """Tell when an address has no port to go with."""
        if self.host is not None and self.port is None:
            yield "ROLLCALL_METRICS__HOST: must go together with ROLLCALL_METRICS__PORT"
