"""The revisions in the versions directory: one line, numbered from 1."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from alembic.script.revision import RevisionMap
from alembic.util import CommandError

from service.db.migrations.compatibility import SchemaState, number_of

ROOT = Path(__file__).resolve().parents[3]
_RELATIVE: Final = re.compile(r"[+-][0-9]{1,4}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Revision:
    """A revision and the constants of its module."""

    id: str
    before: str | None
    title: str
    phase: str
    locks: str
    lossless: bool
    serves_from: str | None
    """The oldest release that the schema serves from this revision on; None leaves it as it was."""
    module: ModuleType

    @property
    def number(self) -> int:
        """The position in the line, from 1."""
        return number_of(self.id)


@dataclass(frozen=True, slots=True)
class Step:
    """One revision to apply or to roll back."""

    revision: Revision
    is_upgrade: bool

    @property
    def direction(self) -> str:
        """`upgrade` or `downgrade`: the name of the function to call."""
        return "upgrade" if self.is_upgrade else "downgrade"


def alembic_config(*, more_versions: Path | None = None, **attributes: Any) -> Config:
    """Return the configuration of `alembic.ini`, with attributes that `alembic/env.py` reads.

    `more_versions` is a directory of revisions that follow the released ones.
    """
    config = Config(ROOT / "alembic.ini")
    config.attributes.update(attributes)
    _set_paths(config, "script_location", ROOT / "alembic")
    _set_paths(config, "prepend_sys_path")  # this process has its path
    if more_versions is not None:
        _set_paths(config, "version_locations", ROOT / "alembic" / "versions", more_versions)
    return config


def _set_paths(config: Config, option: str, *paths: Path) -> None:
    config.set_main_option(option, os.pathsep.join(map(str, paths)).replace("%", "%%"))


def list_revisions(config: Config | None = None) -> list[Revision]:
    """Return all revisions in order.

    Raises:
        alembic.util.CommandError: there is more than one head.
    """
    directory = ScriptDirectory.from_config(config or alembic_config())
    directory.get_current_head()
    return [_revision(script) for script in reversed(list(directory.walk_revisions()))]


def steps_between(current: str | None, target: str, config: Config | None = None) -> list[Step]:
    """Return the steps from a revision to a target: an id, the start of one, `head`, `base`, `+1` or `-1`.

    Raises:
        alembic.util.CommandError: the target does not exist, or this release does not know the current one.
    """
    line = list_revisions(config)
    ids = [revision.id for revision in line]
    here = _position(ids, current or "base", 0)
    there = _position(ids, target, here)
    if there >= here:
        return [Step(revision, is_upgrade=True) for revision in line[here:there]]
    return [Step(revision, is_upgrade=False) for revision in reversed(line[there:here])]


def destination(steps: Sequence[Step]) -> str:
    """Return the revision that steps lead to."""
    last = steps[-1]
    return last.revision.id if last.is_upgrade else last.revision.before or "base"


@cache
def revision_map() -> RevisionMap:
    """Return the released revisions as Alembic keeps them, read once."""
    return ScriptDirectory.from_config(alembic_config()).revision_map


def state_at(revisions: RevisionMap, revision: str | None) -> SchemaState:
    """Return the state of a schema at a revision: the newest `serves_from` that was declared up to it."""
    if revision is None or revision == "base":
        return SchemaState(None)
    scripts: Iterable[Any] = revisions.iterate_revisions(revision, "base")
    declared = (getattr(script.module, "serves_from", None) for script in scripts)
    return SchemaState(revision, next(filter(None, declared), None))


def _position(ids: Sequence[str], target: str, here: int) -> int:
    """Return the number of revisions that are applied at a target."""
    if target in {"head", "heads"}:
        return len(ids)
    if target == "base":
        return 0
    if _RELATIVE.fullmatch(target):
        return min(max(here + int(target), 0), len(ids))
    if target.isascii() and target.isdigit():
        target = target.zfill(4)
    matching = [index for index, name in enumerate(ids, start=1) if name == target]
    matching = matching or [index for index, name in enumerate(ids, start=1) if name.startswith(target)]
    if not target or len(matching) != 1:
        raise CommandError(f"this release has no revision {target}")
    return matching[0]


def _revision(script: Script) -> Revision:
    module = script.module
    return Revision(
        id=script.revision,
        before=module.down_revision,
        title=(script.doc or "").rstrip("."),
        phase=getattr(module, "phase", "unknown"),
        locks=getattr(module, "locks", "unknown"),
        lossless=getattr(module, "lossless", False),
        serves_from=getattr(module, "serves_from", None),
        module=module,
    )
