"""Write the draft of a revision: numbered, with operations that park, restore and build online."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from typing import Any

from alembic.autogenerate import render_op_text, renderers
from alembic.autogenerate.rewriter import Rewriter
from alembic.operations import MigrateOperation, ops
from alembic.script import ScriptDirectory, write_hooks
from sqlalchemy import make_url
from sqlalchemy.schema import CreateIndex

from service.db.migrations.compatibility import number_of

# alembic_version.version_num is varchar(32).
_REVISION_LENGTH = 32


def is_compared(item: Any, _name: str, kind: str, _reflected: bool, counterpart: Any) -> bool:
    """Return whether Alembic can compare the two: it cannot see the collation of an index expression."""
    if kind != "index" or counterpart is None:
        return True
    return "COLLATE" not in str(
        CreateIndex(item).compile(dialect=make_url("postgresql+asyncpg://").get_dialect()())
    )


COMPARISON: dict[str, Any] = {
    "compare_server_default": True,
    "autogenerate_plugins": ["alembic.autogenerate.*", "alembic.ext.checkconstraint_byname"],
    "include_object": is_compared,
}
"""Options for comparing the declared tables with a schema."""


def process_directives(context: Any, revision: Any, directives: list[Any]) -> None:
    """Number the new revision and replace Alembic's operations by ours."""
    script = ScriptDirectory.from_config(context.config)
    for directive in directives:
        following = number_of(script.get_current_head()) + 1
        directive.rev_id = f"{following:04}_{slug(directive.message or 'revision')}"
        for container in (directive.upgrade_ops, directive.downgrade_ops):
            _mark_new_tables(container)
            _order(container)
    _rewriter(context, revision, directives)


@write_hooks.register("ruff_if_installed")
def format_revision(path: str, _options: dict[str, Any]) -> None:
    """Format a new revision with ruff if it is installed."""
    if find_spec("ruff") is None:
        return
    for words in (["check", "--fix-only"], ["format"]):
        command = [sys.executable, "-m", "ruff", *words, "--quiet", path]
        subprocess.run(command, check=False)  # noqa: S603 -- our own interpreter and a file that we wrote


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


class _CustomOperation(MigrateOperation):
    """An operation of Alembic, rendered as one of ours."""

    def __init__(self, original: MigrateOperation, render: Callable[[str], str]) -> None:
        self.original, self.render = original, render

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return the difference as `alembic check` prints it."""
        return self.original.to_diff_tuple()


_rewriter = Rewriter()


@renderers.dispatch_for(_CustomOperation)
def _render(context: Any, operation: _CustomOperation) -> str:
    return operation.render(render_op_text(context, operation.original))


@_rewriter.rewrites(ops.CreateTableOp)
def _restore_table(_context: Any, _revision: Any, operation: ops.CreateTableOp) -> _CustomOperation:
    def render(text: str) -> str:
        return f"if not op.restore_table({operation.table_name!r}):\n    " + text.replace("\n", "\n    ")

    return _CustomOperation(operation, render)


@_rewriter.rewrites(ops.DropTableOp)
def _park_table(_context: Any, _revision: Any, operation: ops.DropTableOp) -> _CustomOperation:
    return _CustomOperation(operation, lambda _text: f"op.park_table({operation.table_name!r})")


@_rewriter.rewrites(ops.DropColumnOp)
def _park_column(_context: Any, _revision: Any, operation: ops.DropColumnOp) -> _CustomOperation:
    words = f"op.park_columns({operation.table_name!r}, {operation.column_name!r})"
    return _CustomOperation(operation, lambda _text: words)


def _rewrite_call(kind: type[MigrateOperation], theirs: str, ours: str) -> None:
    def rewrite(_context: Any, _revision: Any, operation: MigrateOperation) -> MigrateOperation:
        if getattr(operation, "if_not_exists", None):  # an index of a new table
            return operation
        return _CustomOperation(operation, lambda text: text.replace(f"op.{theirs}(", f"op.{ours}(", 1))

    _rewriter.rewrites(kind)(rewrite)


_rewrite_call(ops.AddColumnOp, "add_column", "restore_columns")
_rewrite_call(ops.CreateIndexOp, "create_index", "build_index")
_rewrite_call(ops.CreateCheckConstraintOp, "create_check_constraint", "add_check")

_ORDER = (
    ops.AddColumnOp,
    ops.CreateTableOp,
    ops.CreateIndexOp,
    ops.CreateCheckConstraintOp,
    ops.DropColumnOp,
)


def _order(container: ops.OpContainer) -> None:
    """Put operations that commit on their own first, so that all drops share the last transaction."""
    leaves = list(_leaves(container))
    losing_columns = {table for table, each in leaves if isinstance(each, ops.DropColumnOp)}
    for table, each in leaves:
        if table in losing_columns and isinstance(each, ops.DropIndexOp | ops.DropConstraintOp):
            each.if_exists = True  # dropped with its column
    container.ops[:] = [each for _, each in sorted(leaves, key=lambda leaf: _rank(leaf[1]))]


def _leaves(container: ops.OpContainer) -> Iterator[tuple[str | None, MigrateOperation]]:
    for each in container.ops:
        if isinstance(each, ops.ModifyTableOps):
            yield from ((each.table_name, leaf) for leaf in each.ops)
        else:
            yield getattr(each, "table_name", None), each


def _rank(operation: MigrateOperation) -> int:
    return next((rank for rank, kind in enumerate(_ORDER) if isinstance(operation, kind)), len(_ORDER))


def _mark_new_tables(container: ops.OpContainer) -> None:
    """Create the indexes of a new table with it; a table restored from parking already has them."""
    new = {each.table_name for each in container.ops if isinstance(each, ops.CreateTableOp)}
    for each in container.ops:
        indexes = each.ops if isinstance(each, ops.ModifyTableOps) else [each]
        for index in indexes:
            if isinstance(index, ops.CreateIndexOp) and index.table_name in new:
                index.if_not_exists = True
