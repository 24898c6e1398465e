"""Listings: a table on a terminal, tab-separated in a pipe, one JSON object a line when asked for."""

import sys
from collections.abc import Iterable, Mapping, Sequence

import click
import msgspec
from rich.console import Console
from rich.table import Table

json_option = click.option("--json", "is_json", is_flag=True, help="For machines: one JSON object a line.")


def show_json(*views: msgspec.Struct | Mapping[str, object]) -> None:
    """Print each as one line of JSON."""
    for view in views:
        click.echo(msgspec.json.encode(view))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under their columns."""
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            click.echo("\t".join(row))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")  # an id that is cut is none
    for row in rows:
        table.add_row(*row)
    Console(markup=False, highlight=False).print(table)
