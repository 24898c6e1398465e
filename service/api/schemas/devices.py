"""Schemas of devices."""

from typing import Annotated, Self

from service.api.schemas.common import Id, Output, PageView, Timestamp, about, timestamp
from service.domain.devices import Device


class DeviceView(Output, frozen=True):
    """A device that the user has logged in from."""

    id: Id
    network: Annotated[str, about("Where it was last seen.", "192.0.2.0/24")]
    created_at: Timestamp
    last_seen_at: Timestamp
    current: Annotated[bool, about("Whether the session of the token was opened from it.")]

    @classmethod
    def of(cls, device: Device) -> Self:
        """Return the view of a device."""
        return cls(
            device.id,
            device.network,
            timestamp(device.created_at),
            timestamp(device.last_seen_at),
            device.is_current,
        )


class DevicePage(PageView[DeviceView], frozen=True):
    """A page of devices."""
