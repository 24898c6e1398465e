"""The revisions between which two releases are rehearsed."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
from alembic.script import ScriptDirectory

from service.db.migrations.compatibility import Release, SchemaState
from service.db.migrations.history import alembic_config, list_revisions, state_at
from tools.releases.checkout import ROOT

NEXT: Final = ROOT / "tests" / "migrations" / "next"
"""Revisions of the kinds that a later release would bring."""

_CONTRACT: Final = '''
"""Drop a column, {comment}."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "{id}", "{before}"

phase = "contract"
locks = "users: ACCESS EXCLUSIVE for an instant"
lossless = True
serves_from = "{serves_from}"


def upgrade() -> None:
    op.park_columns("users", "last_login_at")


def downgrade() -> None:
    op.restore_columns("users", sa.Column("last_login_at", sa.DateTime(timezone=True), nullable=True))
'''


@dataclass(frozen=True, slots=True)
class Schemas:
    """The schema goes between `previous` and `top`; from `bottom` on, it serves both releases.

    `previous` is the newest revision that the previous release brings: where the database stands before a
    deployment, and after a rollback. `contract` comes after `top` and serves neither. With `is_broken`, `top`
    is a contract step that drops a column in use and states that it serves both.
    """

    previous: str
    bottom: str
    top: str
    contract: str
    more_versions: Path
    contract_versions: Path
    is_broken: bool


def choose_schemas(old: Release, new: Release, directory: Path, *, is_broken: bool) -> Schemas:
    """Return the schemas of a rehearsal of two releases, and write the contract steps.

    Raises:
        click.ClickException: no revision serves both.
    """
    revisions = _revisions_from(old)
    served = [revision for revision, state in revisions.items() if _serves(state, old, new)]
    if not served:
        raise click.ClickException(f"No revision serves both releases: {old}; {new}.")
    previous, bottom, top = next(iter(revisions)), served[0], served[-1]
    more, contract_versions = directory / "more", directory / "contract"
    number = int(top[:4])
    more.mkdir()
    for path in sorted(NEXT.glob("*.py")):
        if path.stem <= top:
            shutil.copy(path, more)
    if is_broken:
        lie = f"{number + 1:04}_lie"
        _write(more, lie, before=top, serves_from=bottom, comment="and say that releases using it are served")
        number, top = number + 1, lie
    shutil.copytree(more, contract_versions)
    contract = f"{number + 1:04}_contract"
    _write(contract_versions, contract, before=top, serves_from=top, comment="which no later release uses")
    return Schemas(previous, bottom, top, contract, more, contract_versions, is_broken)


def _revisions_from(old: Release) -> dict[str, SchemaState]:
    """Return the revisions from the head of a release on, and the state that each leads to."""
    config = alembic_config(more_versions=NEXT)
    revisions = ScriptDirectory.from_config(config).revision_map
    return {
        revision.id: state_at(revisions, revision.id)
        for revision in list_revisions(config)
        if revision.number >= old.head
    }


def _serves(state: SchemaState, *releases: Release) -> bool:
    return all(release.is_served_by(state) for release in releases)


def _write(directory: Path, revision: str, *, before: str, serves_from: str, comment: str) -> None:
    content = _CONTRACT.format(id=revision, before=before, serves_from=serves_from, comment=comment)
    (directory / f"{revision}.py").write_text(content.lstrip())
