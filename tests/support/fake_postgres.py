"""A server that speaks as much of PostgreSQL's protocol as a connection needs to fail."""

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

CERTIFICATE: Final = Path(__file__).parent / "tls/localhost.pem"
"""A certificate for localhost alone, signed by itself, with its key; of no use elsewhere."""

_SSL_REQUEST: Final = 80877103


@asynccontextmanager
async def fake_postgres(
    sqlstate: str | None = "28P01", message: str = "", *, has_tls: bool = False
) -> AsyncIterator[int]:
    """Reject every connection with an error of this SQLSTATE; None: hang up. Yield the port of loopback."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError, ssl.SSLError):
            packet = await _read_packet(reader)
            if packet[:4] == struct.pack("!i", _SSL_REQUEST):
                writer.write(b"S" if has_tls else b"N")
                await writer.drain()
                if has_tls:
                    await writer.start_tls(context)
                await _read_packet(reader)
            if sqlstate is not None:
                writer.write(_error(sqlstate, message or f"failed with {sqlstate}"))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _read_packet(reader: asyncio.StreamReader) -> bytes:
    (length,) = struct.unpack("!i", await reader.readexactly(4))
    return await reader.readexactly(length - 4)


def _error(sqlstate: str, message: str) -> bytes:
    fields = b"".join(
        kind + value.encode() + b"\0" for kind, value in ((b"S", "FATAL"), (b"C", sqlstate), (b"M", message))
    )
    return b"E" + struct.pack("!i", len(fields) + 5) + fields + b"\0"
