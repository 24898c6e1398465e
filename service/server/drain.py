"""Stop accepting connections without resetting any: what the kernel has accepted is served first."""

import asyncio
import ctypes
import socket
import struct
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Final

from service.server.http_protocol import HttpProtocol

HANDSHAKE_TIMEOUT_S: Final = 0.2
"""Time for handshakes that have begun to complete, and for their connections to be accepted."""
FIRST_REQUEST_TIMEOUT_S: Final = 1.0
"""Time for an accepted connection to send its first request."""

_POLL_INTERVAL_S: Final = 0.02
_SO_ATTACH_FILTER: Final = 26
_SO_DETACH_FILTER: Final = 27
# Drop SYN without ACK, pass everything else: the flags are byte 13 of the TCP header.
_DROP_SYN: Final = (
    (0x30, 0, 0, 13),  # load the byte
    (0x54, 0, 0, 0x12),  # keep SYN and ACK
    (0x15, 0, 1, 0x02),  # SYN alone?
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFFFFFF),  # pass
)


async def serve_accepted(listeners: Sequence[socket.socket], connections: Collection[object]) -> None:
    """Refuse new connections, then wait until those in the accept queue have sent their first request.

    Closing a listening socket resets what is in its accept queue. So new handshakes are ignored first: their
    clients repeat them a second later, and are refused by then. Elsewhere than on Linux the queue is emptied,
    but stays open for an instant.
    """
    for listener in listeners:
        ignore_handshakes(listener)
    loop = asyncio.get_running_loop()
    handshakes_end, requests_end = loop.time() + HANDSHAKE_TIMEOUT_S, loop.time() + FIRST_REQUEST_TIMEOUT_S
    # uvicorn signals no first request, so this polls.
    while (now := loop.time()) < requests_end and (now < handshakes_end or _is_any_new(connections)):  # noqa: ASYNC110
        await asyncio.sleep(_POLL_INTERVAL_S)


def ignore_handshakes(listener: socket.socket) -> None:
    """Drop the first packet of each new connection. Linux only."""
    if sys.platform != "linux":
        return
    instructions = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in _DROP_SYN))
    program = struct.pack("HP", len(_DROP_SYN), ctypes.addressof(instructions))
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def accept_handshakes(listener: socket.socket) -> None:
    """Accept new connections again on a socket that other processes share."""
    if sys.platform == "linux":
        with suppress(FileNotFoundError):  # there is no filter
            listener.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)


def _is_any_new(connections: Collection[object]) -> bool:
    """Return whether a connection has not sent its first request yet."""
    return any(isinstance(connection, HttpProtocol) and connection.is_new for connection in connections)
