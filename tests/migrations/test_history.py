"""What every revision must be, and the order they stand in."""

import re
from pathlib import Path

import pytest
from alembic.util import CommandError

from service.db.migrations.autogenerate import slug
from service.db.migrations.compatibility import HEAD, HEAD_ID
from service.db.migrations.history import (
    ROOT,
    Revision,
    alembic_config,
    destination,
    list_revisions,
    steps_between,
)

REVISIONS = list_revisions()


def test_revisions_are_numbered_from_one_to_head() -> None:
    assert [revision.number for revision in REVISIONS] == list(range(1, HEAD + 1))
    assert REVISIONS[-1].id == HEAD_ID


@pytest.mark.parametrize("revision", REVISIONS, ids=lambda revision: revision.id)
def test_read_a_revision_finds_its_file_name_phase_locks_and_losslessness(revision: Revision) -> None:
    path = Path(revision.module.__file__ or "")
    assert path.stem == revision.id
    assert len(revision.id) <= 32
    assert revision.phase in {"expand", "data", "contract"}
    assert revision.locks
    assert revision.lossless is True
    assert not re.search(r"^(from|import) (service|settings)\b", path.read_text(), re.MULTILINE)


def test_look_for_a_package_in_alembic_finds_none() -> None:
    """It would shadow the library of the same name."""
    assert not list((ROOT / "alembic").rglob("__init__.py"))


def test_list_revisions_with_two_heads_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "0011_rival.py").write_text(
        'revision = "0011_rival"\ndown_revision = "0010_create_instances"\n'
        "def upgrade(): pass\ndef downgrade(): pass\n"
    )
    with pytest.raises(CommandError, match="multiple heads"):
        list_revisions(alembic_config(more_versions=tmp_path))


@pytest.mark.parametrize(
    ("current", "target", "end", "count"),
    [
        (None, "head", HEAD_ID, HEAD),
        (None, "7", "0007_create_login_buckets", 7),
        (None, "0003_add_roles_and_states", "0003_add_roles_and_states", 3),
        ("0012_add_serves_from", "-1", "0011_tune_sessions", 1),
        (HEAD_ID, "base", "base", HEAD),
        ("0003_add_roles_and_states", "+2", "0005_create_api_keys", 2),
        ("0003_add_roles_and_states", "+99", HEAD_ID, HEAD - 3),
    ],
)
def test_steps_between_two_places_lead_from_one_to_the_other(
    current: str | None, target: str, end: str, count: int
) -> None:
    steps = steps_between(current, target)
    assert (destination(steps), len(steps)) == (end, count)


@pytest.mark.parametrize("target", ["0099", "create", "00x", "nonsense"])
def test_steps_to_no_single_revision_are_rejected(target: str) -> None:
    with pytest.raises(CommandError, match=f"no revision {target}"):
        steps_between(None, target)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Add a nickname", "add_a_nickname"),
        ("Très, très long words that go on and on", "tr_s_tr_s_long_words_that"),
        ("…", "revision"),
        ("x" * 40, "revision"),
    ],
)
def test_slug_of_a_message_fits_a_revision_id(message: str, expected: str) -> None:
    assert slug(message) == expected
    assert len(f"0000_{slug(message)}") <= 32
