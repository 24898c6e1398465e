"""The service's signing keys, rotated as an operator does it, with the hour that follows in seconds."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.database import DatabaseProbe
from harness.service_process import ServiceProcess, run_command
from service.embedded.server import EmbeddedPostgres

_AN_HOUR_LATER: Final = (
    "UPDATE signing_keys SET created_at = created_at - interval '61 minutes',"
    " signs_from = signs_from - interval '61 minutes', ends_at = ends_at - interval '61 minutes'"
)


@dataclass(frozen=True)
class SigningKeys:
    """The keys of a service on the embedded database of a directory."""

    service: ServiceProcess
    directory: Path
    secrets_key: str

    def rotate(self) -> None:
        """Publish a new key and let it sign. The service starts anew: it keeps the keys for a minute."""
        self.service.stop()
        with EmbeddedPostgres(self.directory) as postgres:
            settings = {"DATABASE_URL": postgres.dsn, "ROLLCALL_SECRETS__KEY": self.secrets_key}
            run_command("signing-keys", "rotate", **settings).check_returncode()
            asyncio.run(DatabaseProbe(postgres.dsn).run(_AN_HOUR_LATER))
        self.service.start()
        self.service.wait_until("/health/ready", 200)
