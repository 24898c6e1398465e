"""Print what commands found: as text for people, as one JSON object a line with --json."""

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import click
import msgspec
from rich.console import Console
from rich.table import Table

from service.cli.console import print_result

T = TypeVar("T")

json_option = click.option("--json", "is_json", is_flag=True, help="Print one JSON object a line.")


def show(view: object, sentence: str, *, is_json: bool) -> None:
    """Print a view as JSON, or else the sentence."""
    if is_json:
        show_json(view)
    else:
        print_result(sentence)


def show_listing(
    items: Iterable[T],
    columns: Sequence[str],
    row_of: Callable[[T], Sequence[str]],
    view_of: Callable[[T], object],
    *,
    is_json: bool,
) -> None:
    """Print the view of each item as JSON, or else a table with a row for each."""
    if is_json:
        show_json(*map(view_of, items))
    else:
        show_table(columns, map(row_of, items))


def show_json(*views: object) -> None:
    """Print one line of JSON for each view: a struct, a dataclass or a mapping."""
    for view in views:
        click.echo(msgspec.json.encode(view))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows below the names of their columns, tab-separated unless it is for a terminal."""
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            click.echo("\t".join(row))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")  # a truncated id is of no use
    for row in rows:
        table.add_row(*row)
    Console(markup=False, highlight=False).print(table)
