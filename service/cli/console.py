"""Print results on standard output and everything else on standard error."""

import click


def print_result(text: str = "") -> None:
    """Print a result."""
    click.echo(text)


def print_status(text: str) -> None:
    """Print progress or advice."""
    click.echo(text, err=True)


def print_error(*sentences: str) -> None:
    """Print what is wrong, one sentence a line."""
    for sentence in sentences:
        click.echo(sentence, err=True)
