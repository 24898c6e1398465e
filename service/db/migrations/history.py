"""The revisions in the versions directory: a line, numbered from 1."""

from functools import cache
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.script import ScriptDirectory

ROOT = Path(__file__).resolve().parents[3]


def alembic_config(**attributes: Any) -> Config:
    """Return the configuration of `alembic.ini`, with attributes that `alembic/env.py` reads."""
    config = Config(ROOT / "alembic.ini")
    config.attributes.update(attributes)
    return config


@cache
def head() -> str:
    """Return the newest revision of this release.

    Raises:
        alembic.util.CommandError: there is more than one head.
    """
    revision = ScriptDirectory.from_config(alembic_config()).get_current_head()
    return revision or "base"


def number_of(revision: str | None) -> int:
    """Return the number a revision id starts with; 0 for none.

    Raises:
        ValueError: the id has no number.
    """
    return int(revision.partition("_")[0]) if revision else 0
