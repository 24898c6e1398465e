"""The findings of the doctor and their remedies."""

import json
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import LargeBinary

from harness.mail_server import mail_server
from service.cli.doctor.database import check_database, check_facts
from service.cli.doctor.findings import Finding, Level
from service.cli.doctor.mail import check_mail
from service.cli.doctor.process import check_machine, check_settings
from service.cli.doctor.secrets import check_secrets
from service.db.diagnostics import Facts
from service.db.migrations.compatibility import SchemaState
from service.db.migrations.history import list_revisions
from service.db.repositories.encrypted import ENCRYPTED_COLUMNS
from service.db.tables import Base
from settings.http import HttpSettings
from settings.metrics import MetricsSettings
from settings.passwords import PasswordSettings
from settings.secrets import SecretsSettings
from tests.api.test_access_tokens import KEY, settings_with_tokens
from tests.cli.conftest import Command
from tests.support.api import Api, serving
from tests.support.databases import execute, fetch_values
from tests.support.settings import settings_for_tests

HEALTHY = Facts(
    version=18,
    role="rollcall_app",
    is_superuser=False,
    may_create=False,
    is_standby=False,
    clock=datetime.now(UTC),
    encoding="UTF8",
    is_encrypted=True,
    is_local=False,
    is_durable=True,
    may_purge_events=True,
    connection_limit=97,
    schema=SchemaState(list_revisions()[-1].id),
    invalid_indexes=(),
    denied_tables=(),
    may_change_events=False,
    public_tables=(),
    scratch_databases=(),
)
PLAIN = {
    "idempotency_keys.body",
    "outbox.token_seed",  # of no use without the key
    "passkey_challenges.challenge",
    "passkeys.credential_id",
    "passkeys.public_key",
    "throttle_keys.key",  # of use to the database itself
}
OTHER_KEY = b64encode(bytes(32)).decode()
URL = "postgresql://rollcall_app@db/rollcall"
CONFIGURED = settings_for_tests(database={"url": f"{URL}?sslmode=verify-full"})


@pytest.mark.parametrize(
    ("change", "check", "level"),
    [
        ({"version": 16}, "version", Level.WARNING),
        ({"version": 13}, "version", Level.PROBLEM),
        ({"scratch_databases": ("rollcall_scratch_1",)}, "leftovers", Level.WARNING),
        ({"is_superuser": True}, "privileges", Level.WARNING),
        ({"may_create": True}, "privileges", Level.WARNING),
        ({"may_change_events": True}, "privileges", Level.WARNING),
        ({"may_purge_events": False}, "privileges", Level.PROBLEM),
        ({"denied_tables": ("users",)}, "privileges", Level.PROBLEM),
        ({"public_tables": ("users",)}, "privileges", Level.PROBLEM),
        ({"is_standby": True}, "role", Level.PROBLEM),
        ({"encoding": "SQL_ASCII"}, "encoding", Level.PROBLEM),
        ({"is_encrypted": False}, "encryption", Level.WARNING),
        ({"is_durable": False}, "durability", Level.PROBLEM),
        ({"clock": datetime.now(UTC) - timedelta(minutes=1)}, "clock", Level.WARNING),
        ({"connection_limit": 5}, "connections", Level.WARNING),
        ({"schema": SchemaState(None)}, "schema", Level.PROBLEM),
        ({"schema": SchemaState("0001_create_users")}, "schema", Level.PROBLEM),
        ({"schema": SchemaState("9999_from_the_future")}, "schema", Level.PROBLEM),
        ({"schema": SchemaState("b0b1e5")}, "schema", Level.PROBLEM),
        ({"invalid_indexes": ("ix_users_name",)}, "indexes", Level.PROBLEM),
    ],
)
def test_check_facts_with_one_defect_finds_it_alone_with_a_remedy(
    change: dict[str, Any], check: str, level: Level
) -> None:
    healthy = replace(HEALTHY, clock=datetime.now(UTC))
    assert not_ok(check_facts(healthy, CONFIGURED)) == []
    (finding,) = not_ok(check_facts(replace(healthy, **change), CONFIGURED))
    assert (finding.check, finding.level) == (check, level)
    assert finding.cure


@pytest.mark.parametrize("query", ["", "?sslmode=prefer", "?sslmode=require", "?sslmode=verify-ca"])
def test_check_facts_of_a_connection_that_verifies_less_than_everything_warns(query: str) -> None:
    settings = settings_for_tests(database={"url": URL + query})
    (finding,) = not_ok(check_facts(replace(HEALTHY, clock=datetime.now(UTC)), settings))
    assert (finding.check, finding.level) == ("encryption", Level.WARNING)
    assert "sslmode=verify-full" in finding.cure
    assert not_ok(check_facts(replace(HEALTHY, clock=datetime.now(UTC), is_local=True), settings)) == []


@pytest.mark.parametrize(
    ("enabled", "checks"), [(None, ["proxies"]), (False, ["proxies"]), (True, ["proxies", "metrics"])]
)
def test_check_settings_open_to_the_network_warns_of_proxies_and_of_metrics_beside_the_api(
    enabled: bool | None, checks: list[str]
) -> None:
    exposed = settings_for_tests(
        profile="production",
        passwords=PasswordSettings(),
        http=HttpSettings(host="0.0.0.0"),
        metrics=MetricsSettings(enabled=enabled),
    )
    assert [finding.check for finding in not_ok(check_settings(exposed))] == checks


def test_check_machine_with_too_little_memory_is_a_problem() -> None:
    greedy = settings_for_tests(
        http=HttpSettings(workers=64), passwords=PasswordSettings(memory_kib=262144, workers=64)
    )
    assert "memory" in [f.check for f in check_machine(greedy) if f.level is Level.PROBLEM]


@pytest.mark.parametrize(
    ("by_code", "links", "checks"),
    [
        (False, {}, []),
        (True, {}, ["mail server"]),
        (False, {"link_reset": "https://app.example.com/reset#{token}"}, ["mail server"]),
    ],
)
async def test_check_mail_without_a_server_warns_if_mails_are_needed(
    tmp_path: Path, *, by_code: bool, links: dict[str, str], checks: list[str]
) -> None:
    settings = settings_for_tests(mail={"directory": tmp_path, **links}, login={"by_code": by_code})
    assert [finding.check for finding in not_ok(await check_mail(settings))] == checks


async def test_check_mail_greets_the_server_and_names_its_fault_without_secrets() -> None:
    async with mail_server() as server:
        url = f"smtp://us:hunter22@127.0.0.1:{server.port}"
        settings = settings_for_tests(mail={"smtp_url": url, "sender": "us@example.org"})
        (refused,) = await check_mail(settings)
        (found,) = await check_mail(
            settings_for_tests(mail={"smtp_url": url.replace("us:hunter22@", ""), "sender": "us@example.org"})
        )
    (gone,) = await check_mail(settings)
    assert (found.level, server.messages) == (Level.OK, [])
    assert [each.level for each in (refused, gone)] == [Level.PROBLEM, Level.PROBLEM]
    assert "Nothing listens" in gone.cure
    assert "hunter22" not in str([found, refused, gone])


async def test_check_database_with_a_schema_changed_by_hand_names_the_differences(database: str) -> None:
    async with serving(settings_for_tests(), database) as running:
        # The server of the tests is not durable.
        [(version,)] = await fetch_values(
            running.service.engine, "SELECT current_setting('server_version_num')::int / 10000"
        )
        usual = ["durability"] if version == 18 else ["version", "durability"]
        assert [finding.check for finding in not_ok(await check_database(running.service))] == usual
        await execute(running.service.engine, "ALTER TABLE users ADD COLUMN shoe_size int")
        await execute(running.service.engine, "DROP INDEX ix_users_admins")
        found = not_ok(await check_database(running.service))
    assert [finding.check for finding in found] == [*usual, "drift", "drift"]
    assert any("shoe_size" in finding.seen for finding in found)
    assert any("ix_users_admins" in finding.seen for finding in found)


@pytest.mark.parametrize(
    ("keys", "level", "seen"),
    [
        (KEY, Level.OK, "1 under the newest key"),
        (f"{OTHER_KEY},{KEY}", Level.WARNING, "1 under an old key"),
        (OTHER_KEY, Level.PROBLEM, "1 under a key that ROLLCALL_SECRETS__KEY does not have"),
        (None, Level.PROBLEM, "1 under a key that ROLLCALL_SECRETS__KEY does not have"),
    ],
)
async def test_check_secrets_shows_under_which_keys_they_are(
    api: Api, shared_database: str, keys: str | None, level: Level, seen: str
) -> None:
    async with serving(settings_with_tokens(), shared_database):
        pass  # its first start makes a signing key
    without_key = settings_for_tests(secrets=SecretsSettings(key=None))
    settings = without_key if keys is None else settings_with_tokens(keys)
    async with serving(settings, shared_database) as running:
        (finding,) = await check_secrets(running.service)
    assert (finding.level, finding.seen) == (level, f"signing_keys.private_key: {seen}")
    assert bool(finding.cure) is (level is not Level.OK)


async def test_check_database_tells_of_secrets_that_no_key_decrypts(api: Api, shared_database: str) -> None:
    async with serving(settings_with_tokens(), shared_database):
        pass
    async with serving(settings_with_tokens(OTHER_KEY), shared_database) as running:
        checks = {finding.check: finding for finding in await check_database(running.service)}
    assert checks["secrets"].level is Level.PROBLEM


def test_encrypted_columns_are_all_those_of_bytes_but_digests_and_what_opens_nothing() -> None:
    of_bytes = {
        f"{table.name}.{column.name}"
        for table in Base.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, LargeBinary) and "digest" not in column.name
    }
    assert {column.purpose for column in ENCRYPTED_COLUMNS} == of_bytes - PLAIN


async def test_check_database_with_an_invalid_index_names_it(database: str) -> None:
    async with serving(settings_for_tests(), database) as running:
        engine = running.service.engine
        await execute(
            engine,
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_users_disabled'::regclass",
        )
        await execute(engine, "GRANT SELECT ON users TO PUBLIC")
        found = {finding.check: finding.seen for finding in await check_database(running.service)}
    assert found["indexes"] == "Invalid: ix_users_disabled"


@pytest.mark.parametrize(
    ("place", "word"),
    [("localhost:1", "Nothing listens"), ("host.invalid:5432", "not known here")],
)
async def test_doctor_on_an_unreachable_database_prints_the_reason_and_not_the_password(
    command: Command, place: str, word: str
) -> None:
    done = await command("doctor", "--json", DATABASE_URL=f"postgresql://ada:hunter22@{place}/accounts")
    last = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, last["check"], last["level"]) == (1, "connection", "problem")
    assert word in last["cure"]
    assert "hunter22" not in done.stdout + done.stderr


async def test_doctor_without_a_database_that_could_start_prints_the_other_findings_too(
    command: Command,
) -> None:
    done = await command("doctor", "--json", ROLLCALL_DATABASE__EMBEDDED_DIR="/dev/null/postgres")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (1, "")
    assert {"release", "memory", "mail"} <= {each["check"] for each in found}
    assert (found[-1]["check"], found[-1]["level"]) == ("connection", "problem")
    assert "DATABASE_URL" in found[-1]["cure"]


def not_ok(findings: Iterable[Finding]) -> list[Finding]:
    return [each for each in findings if each.level is not Level.OK]
