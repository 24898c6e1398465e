"""Commands for API keys."""

import json

from tests.cli.conftest import Command
from tests.support.api import Api


async def test_create_a_key_works_until_it_is_revoked(
    api: Api, command: Command, shared_database: str
) -> None:
    made = await command("keys", "create", "gateway", "--scopes", "users:read", DATABASE_URL=shared_database)
    key = made.stdout.strip()
    assert key.startswith("rck_")
    assert key not in made.stderr
    assert (await api.by(key).get("/v1/users")).status_code == 200

    listed = (await command("keys", "list", "--json", DATABASE_URL=shared_database)).stdout
    assert key not in listed
    (found,) = map(json.loads, listed.splitlines())
    assert (found["name"], found["scopes"], found["prefix"]) == ("gateway", ["users:read"], key[:8])
    assert found["id"] in made.stderr
    assert made.stdout == f"{key}\n"

    assert (await command("keys", "revoke", found["id"], DATABASE_URL=shared_database)).returncode == 0
    assert (await api.by(key).get("/v1/users")).status_code == 401


async def test_create_a_key_with_a_name_that_is_too_long_exits_2(
    command: Command, shared_database: str
) -> None:
    scopes = ("--scopes", "users:read")
    refused = await command("keys", "create", "n" * 1000, *scopes, DATABASE_URL=shared_database)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("name: ")


async def test_create_a_key_with_an_unknown_scope_exits_2(command: Command) -> None:
    refused = await command("keys", "create", "gateway", "--scopes", "users:rule")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "users:read" in refused.stderr
