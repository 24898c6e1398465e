"""What commands print: results on standard output, everything else on standard error."""

import click


def print_result(text: str = "") -> None:
    """Print a result."""
    click.echo(text)


def print_status(text: str) -> None:
    """Tell how things go."""
    click.echo(text, err=True)


def print_error(*sentences: str) -> None:
    """Tell what is wrong, one sentence a line."""
    for sentence in sentences:
        click.echo(sentence, err=True)
