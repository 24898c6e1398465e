import click
import pytest

from service.cli import cli
from tests.cli.conftest import Command

COMMANDS = cli.list_commands(click.Context(cli))


@pytest.mark.parametrize("name", COMMANDS)
async def test_run_a_command_with_help_imports_it(command: Command, name: str) -> None:
    helped = await command(name, "--help")
    assert helped.returncode == 0
    assert f"Usage: python -m service {name}" in helped.stdout


async def test_run_with_help_lists_every_command_with_a_description(command: Command) -> None:
    listed = (await command("--help")).stdout.partition("Commands:")[2]
    described = {line.split()[0]: line.split()[1:] for line in listed.splitlines() if line.startswith("  ")}
    assert {name for name, words in described.items() if words} >= set(COMMANDS)


async def test_run_an_unknown_command_exits_2(command: Command) -> None:
    refused = await command("serv")
    assert refused.returncode == 2
    assert "No such command 'serv'" in refused.stderr
