"""How `alembic revision` drafts a revision."""

import re
from collections.abc import Iterable
from typing import Any

from alembic.script import ScriptDirectory
from sqlalchemy import make_url
from sqlalchemy.schema import CreateIndex

from service.db.migrations.window import number_of

# alembic_version.version_num is varchar(32).
_REVISION_LENGTH = 32


def is_compared(item: Any, _name: str, kind: str, _reflected: bool, counterpart: Any) -> bool:
    """Tell whether Alembic can compare the two: it cannot see the collation of an index expression."""
    if kind != "index" or counterpart is None:
        return True
    return "COLLATE" not in str(
        CreateIndex(item).compile(dialect=make_url("postgresql+asyncpg://").get_dialect()())
    )


def number_revision(context: Any, _revision: Any, directives: list[Any]) -> None:
    """Give a new revision its id, `NNNN_slug`, from its message and the number after the head's."""
    script = ScriptDirectory.from_config(context.config)
    for directive in directives:
        following = number_of(script.get_current_head()) + 1
        directive.rev_id = f"{following:04}_{slug(directive.message or 'revision')}"


def slug(message: str) -> str:
    """Return the message as lower-case words joined by underscores, cut at a word to fit a revision id."""
    words = re.findall(r"[a-z0-9]+", message.lower())
    return "_".join(_fitting(words, _REVISION_LENGTH - len("0000_"))) or "revision"


def _fitting(words: Iterable[str], length: int) -> list[str]:
    kept: list[str] = []
    for word in words:
        if len("_".join([*kept, word])) > length:
            break
        kept.append(word)
    return kept
