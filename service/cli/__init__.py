"""The command line: thin commands over the use cases.

Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted.
"""

import os
import sys

import click

from service import __version__
from service.cli.console import print_status
from service.cli.machine import prepare_process
from service.domain.errors import RollcallError
from service.embedded.binaries import EmbeddedUnavailable
from settings import SettingsError

_COMMANDS = ("serve", "database", "users", "keys", "signing-keys", "secrets", "mail", "doctor", "config")
_COMPLETE = "_ROLLCALL_COMPLETE"


class _LazyGroup(click.Group):
    """A group that imports the module of a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the signature is click's
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        return _import_command(cmd_name)


def _import_command(name: str) -> click.Command | None:
    """Import one command alone: the start of the server must not wait for the others (ADR 14)."""
    match name:
        case "serve":
            from service.server.startup import serve as command
        case "database":
            from service.cli.database import database as command
        case "users":
            from service.cli.users import users as command
        case "keys":
            from service.cli.keys import keys as command
        case "mail":
            from service.cli.mail import mail as command
        case "doctor":
            from service.cli.doctor.command import doctor as command
        case "config":
            from service.cli.config import config as command
        case _:
            return _import_secrets_command(name)
    return command


def _import_secrets_command(name: str) -> click.Command | None:
    match name:
        case "signing-keys":
            from service.cli.signing_keys import signing_keys as command
        case "secrets":
            from service.cli.secrets import secrets as command
        case _:
            return None
    return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rollcall")
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
def cli(debug: bool) -> None:
    """Rollcall: the accounts microservice."""


def main() -> None:
    """Run the command line; print a failure as one sentence."""
    is_debug = "--debug" in sys.argv[1:]
    prepare_process()
    try:
        # Completion needs one word for what is completed; docs/operations.md gives the script of that name.
        name = "rollcall" if _COMPLETE in os.environ else "python -m service"
        sys.exit(cli.main(prog_name=name, complete_var=_COMPLETE, standalone_mode=False))
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except (click.Abort, KeyboardInterrupt):
        print_status("Interrupted.")
        sys.exit(130)
    except SettingsError as error:
        print_status("\n".join(error.problems))
        sys.exit(2)
    except click.ClickException as error:
        print_status(error.format_message())
        sys.exit(error.exit_code)
    except Exception as error:
        if is_debug:
            raise
        print_status(_sentence_of(error))
        sys.exit(1)


def _sentence_of(error: Exception) -> str:
    """Return a sentence without the message of the exception, unless it was written for the operator."""
    if isinstance(error, RollcallError):
        return error.detail
    if isinstance(error, EmbeddedUnavailable):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}."
    from service.db.core.connect_errors import CannotConnect, explain  # imports SQLAlchemy (ADR 14)

    if (not isinstance(error, OSError) or isinstance(error, CannotConnect)) and (reason := explain(error)):
        return reason
    if isinstance(error, OSError) and error.strerror:
        return f"Failed: {error.strerror}."
    return f"Failed: {type(error).__name__}. Run it again with --debug for the traceback."
