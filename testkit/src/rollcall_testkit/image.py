"""A prepared database: the schema at its newest and one administrator, made once and copied for each run."""

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
# Nothing in it has to outlive a power cut.
_NON_DURABLE = "\nfsync = off\nsynchronous_commit = off\nfull_page_writes = off\n"


def clone(checkout: Checkout, cache: Path, postgres: Path) -> None:
    """Make a directory for the embedded PostgreSQL that nobody has used yet.

    Raises: RollcallUnavailable when there is no image in the cache, and none can be made.
    """
    image = cache / f"image-{_digest(checkout.root)}"
    with _alone(cache / "lock"):
        if not image.exists():
            _make_image(checkout, cache, image)
        shutil.copytree(image, postgres / "data")


def _make_image(checkout: Checkout, cache: Path, image: Path) -> None:
    for old in [*cache.glob("image-*"), *cache.glob("building-*")]:
        shutil.rmtree(old)
    # Another name each time: a run that was killed here may have left a server behind, which ends alone.
    building = cache / f"building-{secrets.token_hex(4)}"
    bare = building / "bare"
    bare.mkdir(parents=True)
    try:
        checkout.run("database", "migrate", postgres=building, bare=bare)
        checkout.run("users", "admin", ROOT_LOGIN_ID, postgres=building, bare=bare, stdin=ROOT_PASSWORD)
        with (building / "data/postgresql.conf").open("a") as settings:
            settings.write(_NON_DURABLE)
        (building / "data").rename(image)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _digest(root: Path) -> str:
    """Name an image by whatever makes it, so that a changed checkout gets a new one."""
    sources = [root / "requirements/runtime.txt", Path(__file__)]
    for part in ("alembic", "service/db"):
        sources += sorted((root / part).rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """No other worker, and no other run, makes or copies an image inside the block."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
