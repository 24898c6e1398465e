"""Each failure to connect becomes one sentence with its remedy, and none holds the password."""

import ssl
from pathlib import Path

import asyncpg
import pytest

from service.db.core.connect_errors import DATABASE_ERRORS, CannotConnect, explain
from service.db.core.engine import create_engine
from tests.support.fake_postgres import CERTIFICATE, fake_postgres

SECRET = "hunter2"
REFUSED_SETTING = 'unrecognized configuration parameter "schema"'
REFUSED_VALUE = 'invalid value for parameter "TimeZone": "hunter2"'
REFUSED_BY_POOLER = "unsupported startup parameter: {}"


async def reason_of(dsn: str, connect_timeout: float = 3.0) -> str:
    """Return the words for the failure to connect to this DSN."""
    engine = create_engine(dsn, connect_timeout=connect_timeout)
    try:
        with pytest.raises(DATABASE_ERRORS) as caught:
            await engine.connect()
    finally:
        await engine.dispose()
    reason = explain(caught.value)
    assert reason is not None
    assert SECRET not in reason
    assert "unknown" not in reason
    return reason


@pytest.mark.parametrize(
    ("sqlstate", "message", "words"),
    [
        ("08P01", REFUSED_BY_POOLER.format("statement_timeout"), "ROLLCALL_DATABASE__PGBOUNCER=true"),
        ("08P01", REFUSED_BY_POOLER.format("search_path"), "does not take the parameter search_path"),
        ("08P01", f"bad packet {SECRET}", "ROLLCALL_DATABASE__PGBOUNCER=true"),
        ("08P01", f"no such user: {SECRET}", "does not know this role"),
        ("08P01", f"no such database: {SECRET}", "no such database"),
        ("08P01", "server login failed: FATAL x", "cannot log in"),
        ("08P01", "no more connections allowed (max_client_conn)", "no connection left"),
        ("08P01", "query_wait_timeout", "No answer in time"),
        ("0A000", "", "too old"),
        ("22023", REFUSED_VALUE, "does not take the parameter TimeZone"),
        ("25006", "", "accepts no writes"),
        ("28000", f"no pg_hba.conf entry for {SECRET}", "pg_hba.conf"),
        ("28P01", f"password of {SECRET} failed", "The password is wrong"),
        ("3D000", f"database {SECRET} does not exist", "no such database"),
        ("42501", 'permission denied for database "x"', "permission denied for database"),
        ("42704", REFUSED_SETTING, "does not take the parameter schema"),
        ("53300", "", "no connection left"),
        ("57P03", "", "starting, stopping or in recovery"),
        ("58030", "", "SQLSTATE 58030"),
        (None, "", "closed the connection"),
    ],
)
async def test_connect_rejected_by_the_server_is_explained(
    sqlstate: str | None, message: str, words: str
) -> None:
    async with fake_postgres(sqlstate, message) as port:
        assert words in await reason_of(f"postgresql://u:{SECRET}@127.0.0.1:{port}/x?sslmode=disable")


async def test_connect_with_tls_to_a_server_without_is_explained() -> None:
    async with fake_postgres() as port:
        assert "does not offer TLS" in await reason_of(f"postgresql://u@127.0.0.1:{port}/x?sslmode=require")


async def test_connect_with_a_certificate_that_is_rejected_is_explained() -> None:
    async with fake_postgres(has_tls=True) as port:
        query = f"sslmode=verify-full&sslrootcert={CERTIFICATE}"
        reason = await reason_of(f"postgresql://u@127.0.0.1:{port}/x?{query}")
        assert reason.startswith("The server's certificate was refused (IP address mismatch")
        assert "password" in await reason_of(f"postgresql://u@localhost:{port}/x?{query}")


async def test_connect_with_system_authorities_trusts_them_and_them_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with fake_postgres(has_tls=True) as port:
        dsn = f"postgresql://u@localhost:{port}/x?sslmode=verify-full&sslrootcert=system"
        assert "certificate was refused" in await reason_of(dsn)
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        assert "password" in await reason_of(dsn)
        assert "certificate was refused" in await reason_of(dsn.replace("localhost", "127.0.0.1"))


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("sslmode=verify-full", "sslrootcert=system"),
        ("sslmode=verify-full&sslrootcert=/nowhere/ca.pem", "/nowhere/ca.pem of sslrootcert cannot be read"),
        ("sslmode=prefer&sslcert=/nowhere/client.pem", "/nowhere/client.pem of sslcert cannot be read"),
        (f"sslmode=require&sslrootcert={__file__}", "TLS failed"),
        ("target_session_attrs=any&sslnegotiation=never", "docs/settings.md"),
    ],
)
async def test_connect_with_an_unusable_tls_parameter_is_explained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, query: str, words: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert words in await reason_of(f"postgresql://u:{SECRET}@127.0.0.1:1/x?{query}")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("127.0.0.1:1", "Nothing listens there"),
        ("%2Fnowhere", "Nothing listens there"),
        ("host.invalid", "not known here"),
    ],
)
async def test_connect_to_an_address_without_server_is_explained(address: str, words: str) -> None:
    assert words in await reason_of(f"postgresql://u:{SECRET}@{address}/x")


async def test_connect_to_a_silent_server_is_explained() -> None:
    async with fake_postgres(None) as port:
        assert "No answer in time" in await reason_of(
            f"postgresql://u@127.0.0.1:{port}/x?sslmode=disable", connect_timeout=0.0001
        )


@pytest.mark.parametrize("error", [ValueError("x"), FileNotFoundError(2, "No such file", "/tmp/x")])
def test_explain_an_error_of_something_else_returns_none(error: Exception) -> None:
    assert explain(error) is None


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError("Multiple exceptions: [Errno 111] a, [Errno 111] b"), "Nothing listens there"),
        (OSError(113, "No route to host"), "cannot be reached"),
        (PermissionError(13, "Permission denied"), "may not use the socket"),
        (ssl.SSLError(1, "x"), "TLS failed"),
        (asyncpg.TargetServerAttributeNotMatched("x"), "target_session_attrs"),
        (asyncpg.InterfaceError("unsupported authentication method"), "scram-sha-256"),
        (asyncpg.InvalidSQLStatementNameError("x"), "ROLLCALL_DATABASE__PGBOUNCER=true"),
        (asyncpg.UntranslatableCharacterError("x"), "ENCODING 'UTF8'"),
    ],
)
def test_explain_an_error_of_the_driver_or_the_system_names_the_remedy(error: Exception, words: str) -> None:
    assert words in (explain(error) or "")


def test_explain_a_user_without_name_asks_for_the_role() -> None:
    error = CannotConnect("KeyError")
    error.__cause__ = KeyError("getpwuid(): uid not found: 10001")
    assert explain(error) == "The user of this process has no name: write the role into DATABASE_URL."


def test_explain_names_the_variable_to_correct() -> None:
    assert "ROLLCALL_MIGRATIONS__DATABASE_URL" in (
        explain(asyncpg.InvalidPasswordError("x"), "ROLLCALL_MIGRATIONS__DATABASE_URL") or ""
    )
