"""A transport without a peer."""

import asyncio


class RecordingTransport(asyncio.Transport):
    """Keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.is_closed = False
        self.has_ended = False

    @property
    def written(self) -> bytes:
        """Everything that was written."""
        return b"".join(self.writes)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep a part."""
        self.writes.append(bytes(data))

    def write_eof(self) -> None:
        """Record the end of what is written."""
        self.has_ended = True

    def close(self) -> None:
        """Record the close."""
        self.is_closed = True

    def is_closing(self) -> bool:
        """Return whether it was closed."""
        return self.is_closed

    def pause_reading(self) -> None:
        """Do nothing: there is no peer."""

    def resume_reading(self) -> None:
        """Do nothing: there is no peer."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Do nothing: nothing is buffered."""
