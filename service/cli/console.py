"""Print results on standard output and everything else on standard error."""

import click


def print_result(text: str = "") -> None:
    """Print a result."""
    click.echo(text)


def print_status(text: str) -> None:
    """Print progress, advice, or what is wrong."""
    click.echo(text, err=True)
