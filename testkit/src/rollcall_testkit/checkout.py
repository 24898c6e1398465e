"""Rollcall's checkout: finding it, and running its commands."""

import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from rollcall_testkit.errors import RollcallUnavailable

_REMEDY = "name Rollcall's checkout in pytest's option rollcall_home"
_FOREIGN_PREFIXES = ("ROLLCALL_", "PG", "PYTHON")
_RESERVED = (
    "PROFILE",
    "DATABASE__",
    "MIGRATIONS__",
    "HTTP__HOST",
    "HTTP__PORT",
    "MAIL__DIRECTORY",
    "SECRETS_DIR",
)
"""Settings that the kit sets: a cheap hash, loopback, a database of its own."""
_TEST_SETTINGS = {
    "DATABASE_URL": "embedded",
    "ROLLCALL_PROFILE": "test",  # permits the cheap hash, and only loopback
    "ROLLCALL_PASSWORDS__MEMORY_KIB": "8",
    "ROLLCALL_PASSWORDS__ITERATIONS": "1",
    "ROLLCALL_PASSWORDS__QUEUE_TIMEOUT": "30s",
    "ROLLCALL_HTTP__DRAIN_TIMEOUT": "2s",
    "ROLLCALL_MAIL__INTERVAL": "50ms",
    "ROLLCALL_SECRETS__KEY": "of+no+value+outside+of+tests++++++++++++++0=",  # permits authenticator apps
    "ROLLCALL_FACTORS__RP_ID": "localhost",
    "ROLLCALL_FACTORS__ORIGINS": "http://localhost",
}


@dataclass(frozen=True, slots=True)
class Checkout:
    """A checkout with a virtual environment."""

    root: Path

    @property
    def python(self) -> Path:
        """The interpreter of the environment that `make install` creates."""
        return self.root / ".venv/bin/python"

    def command(self, *arguments: str) -> list[str]:
        """Return the command `python -m service …`."""
        return [str(self.python), "-m", "service", *arguments]

    def environment(self, postgres: Path, empty: Path, settings: Mapping[str, str]) -> dict[str, str]:
        """Return the environment for a service on the embedded database in `postgres`.

        Settings of the application under test are left out, its database above all. Run the command in the
        directory `empty`, too: it contains neither a .env nor secrets.
        """
        ours = {name: value for name, value in os.environ.items() if not _is_foreign(name)}
        here = {
            "PYTHONPATH": str(self.root),
            "ROLLCALL_DATABASE__EMBEDDED_DIR": str(postgres),
            "ROLLCALL_MAIL__DIRECTORY": str(postgres / "mail"),
            "ROLLCALL_SECRETS_DIR": str(empty),
        }
        return ours | _TEST_SETTINGS | dict(settings) | here

    def run(self, *arguments: str, postgres: Path, empty: Path, stdin: str = "") -> None:
        """Run a command of the service to its end.

        Raises: RollcallUnavailable with the command's own reason.
        """
        done = subprocess.run(  # noqa: S603 - the kit's own command
            self.command(*arguments),
            cwd=empty,
            env=self.environment(postgres, empty, {}),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise RollcallUnavailable(f"Rollcall at {self.root} cannot prepare its database: {reason}")


def find_checkout(configured: str, relative_to: Path) -> Checkout:
    """Return the configured checkout, or the one that this kit was installed from.

    Raises: RollcallUnavailable.
    """
    chosen = relative_to / Path(os.path.expandvars(configured)).expanduser() if configured else _origin()
    if chosen is None:
        raise RollcallUnavailable(f"The kit was not installed from a checkout: {_REMEDY}.")
    checkout = Checkout(chosen.resolve())
    if not (checkout.root / "service/__main__.py").is_file():
        raise RollcallUnavailable(f"{checkout.root} is no checkout of Rollcall: {_REMEDY}.")
    if not checkout.python.exists():
        raise RollcallUnavailable(
            f"Rollcall at {checkout.root} has no environment yet: run `make install` there, once."
        )
    return checkout


def parse_settings(lines: Iterable[str]) -> dict[str, str]:
    """Parse NAME=value lines; the service itself validates names and values.

    Raises: RollcallUnavailable if a line has another form, or names a reserved setting.
    """
    settings = {}
    for line in lines:
        name, separator, value = (part.strip() for part in line.partition("="))
        plain = name.removeprefix("ROLLCALL_")
        if not separator or plain == name or plain.startswith(_RESERVED):
            raise RollcallUnavailable(f"rollcall_settings: {line.strip()!r} cannot be set here.")
        settings[name] = value
    return settings


def _is_foreign(name: str) -> bool:
    return name.upper().startswith(_FOREIGN_PREFIXES) or name.upper() == "DATABASE_URL"


def _origin() -> Path | None:
    """Return the checkout around the kit's sources, or around the path that pip installed it from."""
    around = Path(__file__).resolve().parents[3]
    if (around / "testkit/pyproject.toml").is_file():
        return around
    try:
        recorded = distribution("rollcall-testkit").read_text("direct_url.json")  # PEP 610
    except PackageNotFoundError:
        return None
    url = urlsplit(json.loads(recorded)["url"]) if recorded else None
    return Path(url2pathname(url.path)).parent if url and url.scheme == "file" else None
