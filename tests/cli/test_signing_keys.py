"""Commands for signing keys and stored secrets."""

import json
from base64 import b64encode

from tests.cli.conftest import Command
from tests.support.api import Api

KEY, NEWER = (b64encode(bytes([first] * 32)).decode() for first in (1, 2))


async def test_rotate_signing_keys_publishes_a_key_and_keeps_the_other(
    api: Api, command: Command, shared_database: str
) -> None:
    variables = {"DATABASE_URL": shared_database, "ROLLCALL_SECRETS__KEY": KEY}
    first, second = [
        json.loads((await command("signing-keys", "rotate", "--json", **variables)).stdout) for _ in range(2)
    ]
    listed = await command("signing-keys", "list", "--json", **variables)
    found = [json.loads(line) for line in listed.stdout.splitlines()]
    assert [(key["id"], key["algorithm"]) for key in found] == [
        (first["id"], "ES256"), (second["id"], "ES256"),
    ]  # fmt: skip
    assert [key["ends_at"] is None for key in found] == [False, True]
    assert second["signs_from"] > first["signs_from"]

    replaced = await command("signing-keys", "rotate", "--compromised", **variables)
    assert "signs from" in replaced.stdout
    listed = await command("signing-keys", "list", **variables)
    assert first["id"] not in listed.stdout
    assert second["id"] not in listed.stdout


async def test_rotate_secrets_reports_what_no_key_decrypts(
    api: Api, command: Command, shared_database: str
) -> None:
    variables = {"DATABASE_URL": shared_database}
    await command("signing-keys", "rotate", ROLLCALL_SECRETS__KEY=KEY, **variables)
    done = await command("secrets", "rotate", ROLLCALL_SECRETS__KEY=f"{NEWER},{KEY}", **variables)
    assert (done.returncode, done.stdout) == (
        0,
        "signing_keys.private_key: 1 re-encrypted.\ntotp_secrets.secret: 0 re-encrypted.\n",
    )
    failed = await command("secrets", "rotate", ROLLCALL_SECRETS__KEY=KEY, **variables)
    assert failed.returncode == 1
    assert "1 secrets were encrypted under a key that ROLLCALL_SECRETS__KEY does not have" in failed.stderr


async def test_rotate_without_a_secrets_key_says_what_is_missing(
    command: Command, shared_database: str
) -> None:
    for arguments in (("secrets", "rotate"), ("signing-keys", "rotate")):
        refused = await command(*arguments, DATABASE_URL=shared_database)
        assert refused.returncode == 2
        assert "ROLLCALL_SECRETS__KEY is not set" in refused.stderr
