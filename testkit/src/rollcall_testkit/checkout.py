"""Rollcall's checkout: where it is, and how its commands are run."""

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

_THE_WAY_OUT = "name Rollcall's checkout in pytest's option rollcall_home"
_FOREIGN = ("ROLLCALL_", "PG", "PYTHON")
_GIVEN = ("PROFILE", "DATABASE__", "MIGRATIONS__", "HTTP__HOST", "HTTP__PORT", "SECRETS_DIR")
"""What the kit decides: that the service is cheap, out of others' reach, and on a database of its own."""
_FOR_TESTS = {
    "DATABASE_URL": "embedded",
    "ROLLCALL_PROFILE": "test",  # allows the cheap hash, and no address but loopback
    "ROLLCALL_PASSWORDS__MEMORY_KIB": "8",
    "ROLLCALL_PASSWORDS__ITERATIONS": "1",
    "ROLLCALL_PASSWORDS__QUEUE_TIMEOUT": "30s",
    "ROLLCALL_HTTP__DRAIN_TIMEOUT": "2s",
}


@dataclass(frozen=True, slots=True)
class Checkout:
    """A checkout with an environment, in which the service runs."""

    root: Path

    @property
    def python(self) -> Path:
        """The interpreter of the environment that `make install` makes."""
        return self.root / ".venv/bin/python"

    def command(self, *arguments: str) -> list[str]:
        """The words that start `python -m service …`."""
        return [str(self.python), "-m", "service", *arguments]

    def environment(self, postgres: Path, bare: Path, settings: Mapping[str, str]) -> dict[str, str]:
        """Our environment for a service on the embedded database in `postgres`, and on nothing else.

        What the tests' own application is configured with stays out: another database above all. In the
        empty directory `bare`, where the command has to run too, are neither a .env nor secrets.
        """
        ours = {name: value for name, value in os.environ.items() if not _is_foreign(name)}
        here = {
            "PYTHONPATH": str(self.root),
            "ROLLCALL_DATABASE__EMBEDDED_DIR": str(postgres),
            "ROLLCALL_SECRETS_DIR": str(bare),
        }
        return ours | _FOR_TESTS | dict(settings) | here

    def run(self, *arguments: str, postgres: Path, bare: Path, stdin: str = "") -> None:
        """Run a command of the service to its end.

        Raises: RollcallUnavailable with its own reason when it fails.
        """
        done = subprocess.run(  # noqa: S603 - the words are the kit's
            self.command(*arguments),
            cwd=bare,
            env=self.environment(postgres, bare, {}),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise RollcallUnavailable(f"Rollcall at {self.root} cannot prepare its database: {reason}")


def find_checkout(configured: str, relative_to: Path) -> Checkout:
    """Give the configured checkout, or the one that this kit was installed from.

    Raises: RollcallUnavailable.
    """
    chosen = relative_to / Path(os.path.expandvars(configured)).expanduser() if configured else _origin()
    if chosen is None:
        raise RollcallUnavailable(f"The kit was not installed from a checkout: {_THE_WAY_OUT}.")
    checkout = Checkout(chosen.resolve())
    if not (checkout.root / "service/__main__.py").is_file():
        raise RollcallUnavailable(f"{checkout.root} is no checkout of Rollcall: {_THE_WAY_OUT}.")
    if not checkout.python.exists():
        raise RollcallUnavailable(
            f"Rollcall at {checkout.root} has no environment yet: run `make install` there, once."
        )
    return checkout


def settings_of(lines: Iterable[str]) -> dict[str, str]:
    """Read NAME=value lines; whether there is such a setting, and such a value, is for the service to say.

    Raises: RollcallUnavailable when a line is none, or names what the kit decides.
    """
    settings = {}
    for line in lines:
        name, is_given, value = (part.strip() for part in line.partition("="))
        plain = name.removeprefix("ROLLCALL_")
        if not is_given or plain == name or plain.startswith(_GIVEN):
            raise RollcallUnavailable(f"rollcall_settings: {line.strip()!r} cannot be set here.")
        settings[name] = value
    return settings


def _is_foreign(name: str) -> bool:
    return name.upper().startswith(_FOREIGN) or name.upper() == "DATABASE_URL"


def _origin() -> Path | None:
    """Give the checkout around the kit's sources, or around what pip was given to install it from."""
    around = Path(__file__).resolve().parents[3]
    if (around / "testkit/pyproject.toml").is_file():
        return around
    try:
        recorded = distribution("rollcall-testkit").read_text("direct_url.json")  # PEP 610
    except PackageNotFoundError:
        return None
    url = urlsplit(json.loads(recorded)["url"]) if recorded else None
    return Path(url2pathname(url.path)).parent if url and url.scheme == "file" else None
