"""What clients were told, on the disk before they continue."""

import asyncio
import json
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from harness.http_client import Outcome


@dataclass(frozen=True, slots=True)
class Entry:
    """A write that was requested, and its outcome."""

    kind: str
    login_id: str
    value: str
    """The name that the account gets, or the id of the session; empty for a deletion."""
    outcome: Outcome
    response: str
    seconds: float
    fault: str
    """The fault during which the request began."""


class History:
    """Entries in a file, one a line."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._path = path
        self._waiting: list[asyncio.Future[None]] = []
        self._flushing: asyncio.Task[None] | None = None

    async def add(self, entry: Entry) -> None:
        """Append an entry and wait until it is on the disk; concurrent entries share one fsync."""
        self.write(entry)
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        await done

    def write(self, entry: Entry) -> None:
        """Append an entry without waiting for the disk."""
        self._file.write(json.dumps(asdict(entry)) + "\n")

    async def _flush(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            self._file.flush()
            await asyncio.to_thread(os.fsync, self._file.fileno())
            for done in waiting:
                if not done.done():
                    done.set_result(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def entries(self) -> Iterator[Entry]:
        """Read all entries, in order."""
        self._file.flush()
        with self._path.open(encoding="utf-8") as lines:
            for line in lines:
                fields = json.loads(line)
                yield Entry(**{**fields, "outcome": Outcome(fields["outcome"])})

    def by_login_id(self) -> dict[str, list[Entry]]:
        """Read all entries, in order, by account."""
        found: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries():
            found[entry.login_id].append(entry)
        return found
