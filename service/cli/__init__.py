"""The command line: thin commands over the use cases.

Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted.
"""

import os
import sys

import click

from service import __version__
from service.console import print_error
from service.domain.errors import RollcallError
from service.embedded.binaries import EmbeddedUnavailable
from service.loading import load
from settings import SettingsError

_COMMANDS = {
    "serve": ("service.server.startup", "serve"),
    "database": ("service.cli.database", "database"),
    "users": ("service.cli.users", "users"),
    "keys": ("service.cli.keys", "keys"),
    "doctor": ("service.cli.doctor", "doctor"),
    "config": ("service.cli.config", "config"),
}
"""Command → module and function. Only the module of the command that is called is imported."""

_COMPLETE = "_ROLLCALL_COMPLETE"


class _Commands(click.Group):
    """Finds commands without importing them all: starting the service must not wait for its tools."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the signature is click's
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = load(*_COMMANDS[cmd_name])
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rollcall")
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
def cli(debug: bool) -> None:
    """Rollcall: the accounts microservice."""


def main() -> None:
    """Run the command line, and tell a failure in one sentence."""
    is_debug = "--debug" in sys.argv[1:]
    try:
        # Completion needs one word for what is completed; docs/operations.md gives the script of that name.
        name = "rollcall" if _COMPLETE in os.environ else "python -m service"
        sys.exit(cli.main(prog_name=name, complete_var=_COMPLETE, standalone_mode=False))
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except (click.Abort, KeyboardInterrupt):
        print_error("Interrupted.")
        sys.exit(130)
    except SettingsError as error:
        print_error(*error.problems)
        sys.exit(2)
    except click.ClickException as error:
        print_error(error.format_message())
        sys.exit(error.exit_code)
    except Exception as error:
        if is_debug:
            raise
        print_error(_sentence_of(error))
        sys.exit(1)


def _sentence_of(error: Exception) -> str:
    """Say a failure without its message, unless the message was written for the operator."""
    if isinstance(error, RollcallError):
        return error.detail
    if isinstance(error, EmbeddedUnavailable):
        return str(error)
    return f"Failed: {type(error).__name__}. Run it again with --debug for the traceback."
