"""Print listings: a table on a terminal, tab-separated in a pipe, one JSON object a line with --json."""

import sys
from collections.abc import Iterable, Mapping, Sequence

import click
import msgspec
from rich.console import Console
from rich.table import Table

json_option = click.option("--json", "is_json", is_flag=True, help="Print one JSON object a line.")


def show_json(*views: msgspec.Struct | Mapping[str, object]) -> None:
    """Print one line of JSON for each view."""
    for view in views:
        click.echo(msgspec.json.encode(view))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows below the names of their columns."""
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
