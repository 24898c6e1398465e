"""Commands for the keys that encrypt stored secrets."""

import click

from service.cli.console import print_result
from service.cli.operator import require_cipher
from service.cli.output import json_option, show_json
from service.services import run_command
from service.usecases.secrets import rotate_secrets


@click.group()
def secrets() -> None:
    """Re-encrypt stored secrets."""


@secrets.command()
@json_option
def rotate(is_json: bool) -> None:
    """Re-encrypt every secret under the first key of ROLLCALL_SECRETS__KEY, while the service runs."""
    results = run_command(lambda services: rotate_secrets(services.database, require_cipher(services)))
    for result in results:
        if is_json:
            show_json({"column": result.purpose, "done": result.done, "unreadable": result.unreadable})
        else:
            print_result(f"{result.purpose}: {result.done} re-encrypted.")
    if unreadable := sum(result.unreadable for result in results):
        raise click.ClickException(
            f"{unreadable} secrets were encrypted under a key that ROLLCALL_SECRETS__KEY does not have: "
            "add it at the end, and repeat."
        )
