"""The workers of a service process, as far as they serve."""

import asyncio
import json
from typing import Final

from harness.processes import children_of
from harness.service_process import ServiceProcess

_START_TIMEOUT_S: Final = 180.0
_POLL_INTERVAL_S: Final = 0.05


class WorkerPool:
    """The workers of a service that logs JSON and has at least two of them."""

    def __init__(self, service: ServiceProcess, size: int) -> None:
        self._service = service
        self._size = size
        self._log_position = 0
        self._have_served: set[int] = set()

    def serving(self) -> list[int]:
        """Return the process ids of the workers that serve."""
        self._read_log()
        return [pid for pid in children_of(self._service.process.pid) if pid in self._have_served]

    async def wait_until_complete(self, *, without: int = 0) -> None:
        """Wait until all workers serve and the one with the process id `without` has been replaced."""
        async with asyncio.timeout(_START_TIMEOUT_S):
            while len(set(self.serving()) - {without}) < self._size:  # noqa: ASYNC110 - in another process
                await asyncio.sleep(_POLL_INTERVAL_S)

    def _read_log(self) -> None:
        with self._service.log.open("rb") as log:
            log.seek(self._log_position)
            lines = [line for line in log if line.endswith(b"\n")]
        self._log_position += sum(map(len, lines))
        self._have_served |= {
            int(json.loads(line)["worker"]) for line in lines if b'"event":"serving"' in line
        }
