"""Commands for settings."""

import click

from service.cli.output import json_option, show_json, show_table
from settings import Settings, get_settings, masked


@click.group()
def config() -> None:
    """Show settings."""


@config.command()
@click.option("--changed", is_flag=True, help="Only settings that differ from the default.")
@json_option
def show(changed: bool, is_json: bool) -> None:
    """Show every setting and its value, with passwords masked."""
    values = masked(get_settings())
    if changed:
        defaults = masked(Settings.model_construct())
        values = {name: value for name, value in values.items() if value != defaults[name]}
    if is_json:
        show_json(values)
    else:
        show_table(("variable", "value"), list(values.items()))
