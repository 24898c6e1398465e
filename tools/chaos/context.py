"""What a fault of the chaos test works with."""

import asyncio
import random
from dataclasses import dataclass

from harness.database import DatabaseProbe
from harness.http_client import ServiceClient
from harness.proxy import Proxy
from harness.service_process import ServiceProcess
from tools.chaos.environment import ChaosEnvironment
from tools.chaos.generator import Workload


class InvariantViolated(Exception):
    """The service did not do what it promises of itself."""


@dataclass(frozen=True, slots=True)
class FaultContext:
    """What a fault works with."""

    environment: ChaosEnvironment
    workload: Workload
    rng: random.Random

    @property
    def database(self) -> DatabaseProbe:
        """The database, past service and proxy."""
        return self.environment.database

    @property
    def proxy(self) -> Proxy:
        """The proxy between service and database."""
        return self.environment.proxy

    @property
    def service(self) -> ServiceProcess:
        """The service."""
        return self.environment.service

    def client(self, address: str = "10.0.0.1") -> ServiceClient:
        """Return a client with the key of the workload."""
        return ServiceClient(self.workload.port, self.workload.key, address)

    async def sleep(self, min_s: float, max_s: float) -> None:
        """Wait for a random time."""
        await asyncio.sleep(self.rng.uniform(min_s, max_s))
