"""Copies of a database, whether others use it or not."""

import threading
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from service.db.core.connecting import libpq_environment
from service.db.migrations.running import downgrade
from service.db.migrations.scratch import dsn_of, scratch_database
from tests.migrations.rows import connected, fetch, fill, picture

CREDENTIALS = (
    *("api_keys", "devices", "email_verifications", "idempotency_keys", "login_challenges", "login_codes"),
    *("outbox", "recovery_codes", "reset_tokens", "sessions", "signing_keys", "totp_secrets"),
)
CANARY = "canary-7f3a91"


@pytest.mark.parametrize("is_in_use", [False, True], ids=["idle", "in use"])
async def test_copy_of_a_database_has_every_row_but_no_credential_and_goes_away(
    database: str, is_in_use: bool
) -> None:
    await fill(database)
    original = await picture(database)
    async with AsyncExitStack() as stack:
        if is_in_use:
            await stack.enter_async_context(connected(database))
        copy = await stack.enter_async_context(scratch_database(database, is_copy=True))
        copied = await picture(copy)
    for name in CREDENTIALS:
        assert (len(copied.pop(name)), len(original.pop(name)) > 0) == (0, True)
    hashes = {row["id"]: row.pop("password_hash") for row in original["users"]}
    scrambled = {row["id"]: row.pop("password_hash") for row in copied["users"]}
    assert copied == original
    assert {id_ for id_, hash_ in scrambled.items() if hash_} == {
        id_ for id_, hash_ in hashes.items() if hash_
    }
    assert len({hash_ for hash_ in scrambled.values() if hash_} - set(hashes.values())) == 8
    gone = copy.partition("?")[0].rpartition("/")[2]
    assert await fetch(database, f"SELECT count(*) FROM pg_database WHERE datname = '{gone}'") == 0


async def test_copy_of_a_database_at_an_old_revision_with_parked_sessions_has_no_credential(
    database: str,
) -> None:
    await fill(database)
    await downgrade(database, "0003_add_roles_and_states")
    parked = "SELECT count(*) FROM rollcall_parked.{}"
    async with scratch_database(database, is_copy=True) as copy:
        for name in CREDENTIALS:
            assert await fetch(database, parked.format(name)) > 0
            assert await fetch(copy, parked.format(name)) == 0
        hashes = "SELECT count(*) FROM users WHERE password_hash NOT LIKE '$argon2id$v=19$m=%'"
        assert (await fetch(database, hashes), await fetch(copy, hashes)) == (8, 0)


async def test_copy_of_a_database_in_use_shows_no_password_in_the_arguments_of_a_process(
    database: str,
) -> None:
    seen: set[bytes] = set()
    is_done = threading.Event()
    watcher = threading.Thread(target=watch_arguments, args=(seen, is_done))
    watcher.start()
    try:
        source = f"{database}&password={CANARY}"
        async with connected(database), scratch_database(source, is_copy=True):
            pass
    finally:
        is_done.set()
        watcher.join()
    assert any(b"pg_dump" in arguments for arguments in seen)
    assert [arguments for arguments in seen if CANARY.encode() in arguments] == []


def watch_arguments(seen: set[bytes], is_done: threading.Event) -> None:
    """Collect the arguments of all processes, as any user of the machine could."""
    while not is_done.wait(0.005):
        for process in Path("/proc").iterdir():
            if process.name.isdigit():
                with suppress(OSError):  # it has ended
                    seen.add((process / "cmdline").read_bytes())


async def test_scratch_database_is_empty_and_goes_away_after_a_failure(database: str) -> None:
    async def fail() -> str:
        async with scratch_database(database) as dsn:
            assert await picture(dsn) == {}
            raise LookupError(dsn)

    with pytest.raises(LookupError) as failed:
        await fail()
    dsn = failed.value.args[0]
    gone = dsn.partition("?")[0].rpartition("/")[2]
    assert await fetch(database, f"SELECT count(*) FROM pg_database WHERE datname = '{gone}'") == 0


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("postgresql://u:p@h:1/db", "postgresql://u:p@h:1/other"),
        ("postgresql:///db?host=/run/x&user=u", "postgresql:///other?host=/run/x&user=u"),
        ("postgresql://a:1,b:2/db?sslmode=require", "postgresql://a:1,b:2/other?sslmode=require"),
        ("postgresql://h", "postgresql://h/other"),
    ],
)
def test_dsn_of_another_database_differs_in_its_name_alone(dsn: str, expected: str) -> None:
    assert dsn_of(dsn, "other") == expected


def test_libpq_environment_holds_what_the_dsn_says_and_nothing_that_libpq_rejects() -> None:
    dsn = (
        "postgresql://u:p%40+%24@a:1,[::1]/db%20x?sslmode=require&statement_timeout=5s&options=-c%20jit%3Doff"
    )
    assert libpq_environment(dsn) == {
        "PGHOST": "a,::1",
        "PGPORT": "1,5432",
        "PGDATABASE": "db x",
        "PGUSER": "u",
        "PGPASSWORD": "p@+$",
        "PGSSLMODE": "require",
        "PGOPTIONS": "-c jit=off",
    }
