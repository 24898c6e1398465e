"""The networks around a client, which limits count by."""

from typing import NamedTuple


class Network(NamedTuple):
    """A network, and how many times the limits of a single client's network hold for it."""

    name: str
    share: int = 1


Networks = tuple[Network, ...]
"""The networks around one client, the narrowest first."""

LOCAL: Networks = (Network("local"),)
"""The networks of the command line."""
