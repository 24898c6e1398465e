"""Settings of the metrics."""

from collections.abc import Iterator

from pydantic import Field

from settings.http import Host
from settings.section import Section


class MetricsSettings(Section):
    """Prometheus metrics, at `/metrics` of the API or on a separate port."""

    enabled: bool = Field(default=True, description="Whether metrics are collected and served.")
    host: Host | None = Field(
        default=None, description="Address of the separate port. Unset: the address of the API."
    )
    port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="Separate port for metrics. Unset: `/metrics` on the port of the API.",
    )

    def conflicts(self) -> Iterator[str]:
        """Yield a sentence if there is an address without a port."""
        if self.host is not None and self.port is None:
            yield "ROLLCALL_METRICS__HOST: must be set together with ROLLCALL_METRICS__PORT"
