"""Commands for settings."""

import json

from tests.cli.conftest import Command


async def test_show_settings_masks_every_password(command: Command) -> None:
    shown = await command(
        "config",
        "show",
        "--changed",
        "--json",
        DATABASE_URL="postgresql://ada:hunter22@db:5432/accounts",
        ROLLCALL_MIGRATIONS__DATABASE_URL="postgresql://owner:hunter23@db:5432/accounts",
        ROLLCALL_HTTP__WORKERS="3",
    )
    values = json.loads(shown.stdout)
    assert "hunter2" not in shown.stdout + shown.stderr
    assert values["DATABASE_URL"] == "postgresql://ada:***@db:5432/accounts"
    assert values["ROLLCALL_HTTP__WORKERS"] == "3"
    assert "ROLLCALL_HTTP__PORT" not in values


async def test_show_settings_with_wrong_values_exits_2(command: Command) -> None:
    refused = await command("config", "show", ROLLCALL_HTTP__WORKERS="many", ROLLCALL_HTTPS="1")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.count("\n") == 2
