"""What clients were told, flushed to the disk before they go on."""

import asyncio
import json
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self


class Outcome(StrEnum):
    """What an answer says of the write that was asked for."""

    OK = "ok"
    REFUSED = "refused"
    """It promises that nothing was changed."""
    UNKNOWN = "unknown"
    """No answer, or one that promises nothing."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One write: what was asked for, and what came back."""

    kind: str
    subject: str
    """The login id of the account."""
    mark: str
    """The name the account is to have afterwards; of a session, its id."""
    outcome: Outcome
    answer: str
    seconds: float
    fault: str


class History:
    """Entries in a file, one line each. An entry is on the disk when `add` returns."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._path = path
        self._waiting: list[asyncio.Future[None]] = []
        self._flushing: asyncio.Task[None] | None = None

    async def add(self, entry: Entry) -> None:
        """Write an entry and flush it; those of the same moment share one flush."""
        self.write(entry)
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        await done

    def write(self, entry: Entry) -> None:
        """Write an entry, which is on the disk when the journal is read or a later `add` returns."""
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
        """Read everything back."""
        self._file.flush()
        with self._path.open(encoding="utf-8") as lines:
            for line in lines:
                fields = json.loads(line)
                yield Entry(**{**fields, "outcome": Outcome(fields["outcome"])})

    def by_subject(self) -> dict[str, list[Entry]]:
        """Read everything back, by account and in order."""
        found: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries():
            found[entry.subject].append(entry)
        return found
