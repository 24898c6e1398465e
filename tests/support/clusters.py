"""Clusters with the newest schema, copied from a template that is made once per schema."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from service.db.migrations.running import migrate
from service.embedded.server import EmbeddedPostgres
from tests.support.databases import ROOT, locked, schema_digest

_TEMPLATES: Final = ROOT / "var/test-clusters"


def copy_migrated_cluster(directory: Path) -> None:
    """Give a directory of the embedded server a migrated cluster without rows: making one takes seconds."""
    _TEMPLATES.mkdir(parents=True, exist_ok=True)
    template = _TEMPLATES / schema_digest()
    with locked(_TEMPLATES / "lock"):
        if not template.exists():
            with ThreadPoolExecutor(1) as thread:  # an event loop may run in this one
                thread.submit(_make, template).result()
    shutil.copytree(template, directory / "data")


def _make(template: Path) -> None:
    for old in _TEMPLATES.glob("*/"):
        shutil.rmtree(old)
    building = Path(mkdtemp(prefix="building-", dir=_TEMPLATES))
    with EmbeddedPostgres(building) as postgres:
        migrate(postgres.dsn, "head", upward=True)
    (building / "data").rename(template)
    shutil.rmtree(building)
