"""Settings of the metrics."""

from collections.abc import Iterator

from pydantic import Field

from settings.http import Host
from settings.section import Section


class MetricsSettings(Section):
    """Prometheus metrics, at `/metrics` of the API or on a separate port."""

    enabled: bool | None = Field(
        default=None,
        description="Serve metrics. Unset: on the separate port, or beside the API on loopback only.",
    )
    host: Host | None = Field(
        default=None, description="Address of the separate port. Unset: the address of the API."
    )
    port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="Separate port for metrics. Unset: the port of the API.",
    )

    @property
    def separate_port(self) -> int | None:
        """The separate port, or None if there is none."""
        return None if self.enabled is False else self.port

    def conflicts(self) -> Iterator[str]:
        """Yield a sentence if there is an address without a port."""
        if self.host is not None and self.port is None:
            yield "ROLLCALL_METRICS__HOST: must be set together with ROLLCALL_METRICS__PORT"
