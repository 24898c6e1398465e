import pytest

from service.cli import _COMMANDS
from tests.cli.conftest import Command


@pytest.mark.parametrize("name", _COMMANDS)
async def test_ask_a_command_for_help_finds_it(command: Command, name: str) -> None:
    """Each is found by its name alone: a module or function renamed under it would show here."""
    helped = await command(name, "--help")
    assert helped.returncode == 0
    assert f"Usage: python -m service {name}" in helped.stdout


async def test_ask_for_help_lists_every_command_with_what_it_does(command: Command) -> None:
    listed = (await command("--help")).stdout.partition("Commands:")[2]
    told = {line.split()[0]: line.split()[1:] for line in listed.splitlines() if line.startswith("  ")}
    assert {name for name, words in told.items() if words} >= set(_COMMANDS)


async def test_call_an_unknown_command_exits_2(command: Command) -> None:
    refused = await command("serv")
    assert refused.returncode == 2
    assert "No such command 'serv'" in refused.stderr
