"""The part of PostgreSQL's protocol that sends statements over a socket; saves the consumer a driver."""

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

DEADLOCK = "40P01"
_VERSION_3 = 196608
_LENGTH = struct.Struct("!i")


class PostgresError(Exception):
    """An error of the server, with its SQLSTATE."""

    def __init__(self, fields: dict[str, str]) -> None:
        self.sqlstate = fields["C"]
        super().__init__(f"{fields['C']}: {fields['M']}")


class Postgres:
    """A connection to the server that listens in a directory; not thread-safe.

    `parameters` go into the start-up message: user, database, and any setting.
    Source: PostgreSQL 18, 54.2 Message Flow, 54.7 Message Formats.
    """

    def __init__(self, directory: Path, **parameters: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(directory / ".s.PGSQL.5432"))
        self._stream = self._socket.makefile("rb")
        pairs = b"".join(f"{name}\0{value}\0".encode() for name, value in parameters.items())
        self._send(b"", struct.pack("!i", _VERSION_3) + pairs + b"\0")
        self._read_response()

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()
        self._socket.close()

    def run(self, statements: str) -> list[tuple[str, ...]]:
        """Run statements in one transaction and one round trip; return all rows, as text without nulls.

        Raises: PostgresError; nothing has been changed then.
        """
        self._send(b"Q", statements.encode() + b"\0")
        return self._read_response()

    def _send(self, kind: bytes, body: bytes) -> None:
        self._socket.sendall(kind + _LENGTH.pack(len(body) + 4) + body)

    def _read_response(self) -> list[tuple[str, ...]]:
        rows, error = [], None
        for kind, body in self._messages():
            if kind == b"D":
                rows.append(tuple(_columns(body)))
            elif kind == b"E":
                error = PostgresError(_fields(body))
        if error is not None:
            raise error
        return rows

    def _messages(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield the messages of a response, up to ReadyForQuery."""
        kind = b""
        while kind != b"Z":
            kind = self._stream.read(1)
            if not kind:
                raise ConnectionError("PostgreSQL has closed the connection")
            (length,) = _LENGTH.unpack(self._stream.read(4))
            yield kind, self._stream.read(length - 4)


def _columns(body: bytes) -> Iterator[str]:
    at = 2
    while at < len(body):
        (length,) = _LENGTH.unpack_from(body, at)
        yield body[at + 4 : at + 4 + length].decode()
        at += 4 + length


def _fields(body: bytes) -> dict[str, str]:
    return {field[:1].decode(): field[1:].decode() for field in body.split(b"\0") if field}
