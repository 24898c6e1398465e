"""A prepared database cluster with the newest schema and one administrator, cloned for each run."""

import fcntl
import hashlib
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rollcall_testkit.checkout import Checkout

ROOT_LOGIN_ID = "root"
ROOT_PASSWORD = "amber lantern hums at noon"
# The data need not survive a power failure.
_NON_DURABLE = "\nfsync = off\nsynchronous_commit = off\nfull_page_writes = off\n"


def clone(checkout: Checkout, cache: Path, postgres: Path) -> None:
    """Create a directory for the embedded PostgreSQL from the template, which is created if need be.

    Raises: RollcallUnavailable if the template cannot be created.
    """
    template = cache / f"template-{_digest(checkout.root)}"
    with _locked(cache / "lock"):
        if not template.exists():
            _create_template(checkout, cache, template)
        shutil.copytree(template, postgres / "data")


def _create_template(checkout: Checkout, cache: Path, template: Path) -> None:
    for old in [*cache.glob("template-*"), *cache.glob("building-*")]:
        shutil.rmtree(old)
    # A new name each time: a server left by a killed run may still use the old one.
    building = cache / f"building-{secrets.token_hex(4)}"
    empty = building / "empty"
    empty.mkdir(parents=True)
    try:
        checkout.run("database", "migrate", postgres=building, empty=empty)
        checkout.run("users", "admin", ROOT_LOGIN_ID, postgres=building, empty=empty, stdin=ROOT_PASSWORD)
        with (building / "data/postgresql.conf").open("a", encoding="utf-8") as settings:
            settings.write(_NON_DURABLE)
        (building / "data").rename(template)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _digest(root: Path) -> str:
    """Return a digest of everything that determines the template."""
    sources = [root / "requirements/runtime.txt", Path(__file__)]
    for part in ("alembic", "service/db"):
        sources += sorted((root / part).rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]


@contextmanager
def _locked(lock: Path) -> Iterator[None]:
    """Exclude all other workers and runs during the block."""
    with lock.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
