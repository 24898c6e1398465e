"""Everything that the service writes, searched for every secret.

The service runs as a process with debug logging, serves all operations with recognisable secrets and fails in
several ways. Then its log, PostgreSQL's log, the metrics, the error responses, the process title and a dump
of the database are searched. Source: OWASP ASVS 5.0 16.2.5, 14.2.1; CVE-2020-7694.
"""

import hashlib
import json
import os
import re
import subprocess
from base64 import b32decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import argon2
import asyncpg
import bcrypt
import httpx
import pytest

from harness.service_process import ServiceProcess, service_process
from service.embedded.binaries import binary, environment
from tests.conftest import ROOT
from tests.support.factors import totp_code

ROOTS, FIRST, SECOND, THIRD = (f"canary {word} sings in the mine" for word in ("zero", "one", "two", "three"))
IMPORTED = bcrypt.hashpw(FIRST.encode(), bcrypt.gensalt(4)).decode()
LOGIN_ID = "canary.login"
FORGED = "forged\r\n\x1b[2J\u202eline"


@dataclass
class Evidence:
    """The secrets of a run, and the texts it produced by source."""

    secrets: set[str] = field(default_factory=lambda: {ROOTS, FIRST, SECOND, THIRD})
    errors: list[str] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)


class RecordingClient:
    """Sends requests, and collects error responses and issued tokens."""

    def __init__(self, service: ServiceProcess, evidence: Evidence, dsn: str) -> None:
        self._service, self.evidence, self.dsn = service, evidence, dsn

    def __call__(
        self, method: str, path: str, token: str | None = None, json: object = None, **headers: str
    ) -> httpx.Response:
        bearer = {"Authorization": f"Bearer {token}"} if token else {}
        url, sent = f"{self._service.url}{path}", {**bearer, **headers}
        answer = httpx.request(method, url, json=json, headers=sent, timeout=20)
        if answer.status_code >= 400:
            self.evidence.errors.append(f"{answer.headers} {answer.text}")
        if answer.status_code == 201:
            self.evidence.secrets |= set(re.findall(r"rc[skrd]_[\w-]{43}", answer.text))
        return answer


async def call_every_operation(call: RecordingClient, database: asyncpg.Connection) -> None:
    """Call all operations, with success and failure."""
    root = call("POST", "/v1/sessions", json={"login_id": "root", "password": ROOTS}).json()["token"]
    new_user = {"login_id": LOGIN_ID, "name": "Canary", "password_hash": IMPORTED}
    made = call("POST", "/v1/users", root, new_user, **{"Idempotency-Key": "one"})
    assert made.status_code == 201, made.text
    path = f"/v1/users/{made.json()['id']}"
    call("POST", "/v1/users", root, new_user, **{"Idempotency-Key": "one"})
    call("POST", "/v1/users", root, {**new_user, "password_hash": f"{IMPORTED}x"})
    call("POST", "/v1/users", root, {**new_user, "password": SECOND})
    call("POST", "/v1/sessions", json={"login_id": SECOND, "password": LOGIN_ID})
    call("POST", "/v1/sessions", json={"login_id": LOGIN_ID, "password": THIRD})
    mine = call("POST", "/v1/sessions", json={"login_id": LOGIN_ID, "password": FIRST}).json()
    token = mine["token"]
    call("PUT", "/v1/users/me/password", token, {"current_password": THIRD, "new_password": SECOND})
    changed = {"current_password": FIRST, "new_password": SECOND}
    assert call("PUT", "/v1/users/me/password", token, changed).status_code == 204
    enrol_and_remove(call, token)
    reset = call("POST", f"{path}/reset-tokens", root).json()["token"]
    call("POST", "/v1/reset-tokens/redeem", json={"token": f"{reset}x", "new_password": THIRD})
    call("POST", "/v1/reset-tokens/redeem", json={"token": reset, "new_password": "canary"})
    redeemed = {"token": reset, "new_password": THIRD}
    assert call("POST", "/v1/reset-tokens/redeem", json=redeemed).status_code == 204
    call("GET", "/v1/users/me", token)
    scopes = {"name": "gateway", "scopes": ["sessions:introspect", "users:read"]}
    key = call("POST", "/v1/keys", root, scopes, **{"Idempotency-Key": "two"}).json()["key"]
    assert call("POST", "/v1/keys", root, scopes, **{"Idempotency-Key": "two"}).json()["key"] is None
    call("POST", "/v1/introspect", key, {"token": root})
    for secret in (key, f"{key}x"):
        basic = "Basic " + b64encode(f"gateway:{secret}".encode()).decode()
        call("POST", "/v1/introspect", json={"token": root}, Authorization=basic)
    call("POST", "/v1/revoke", json={"token": key})
    call("GET", f"/v1/forward-auth/page?access_token={token}", token)
    assert call("POST", "/v1/revoke", json={"token": token}).status_code == 200
    call("GET", f"/v1/users?q={quote(FIRST)}&access_token={root}", key)
    call("GET", f"/v1/users/{root}", root)
    call("GET", f"/{quote(FORGED)}", root, **{"User-Agent": "forged \x1b[2J line"})
    call("POST", "/v1/sessions", json={"login_id": FORGED, "password": FORGED + FIRST})
    await fail(call, database, root, path)


def enrol_and_remove(call: RecordingClient, token: str) -> None:
    """Enrol an authenticator app, make recovery codes, and remove both."""
    secret = call("POST", "/v1/users/me/totp", token).json()["secret"]
    call.evidence.secrets |= {secret, b32decode(secret).hex()}
    call("POST", "/v1/users/me/totp/confirm", token, {"code": "no code"})
    confirmed = call("POST", "/v1/users/me/totp/confirm", token, {"code": totp_code(secret)})
    assert confirmed.status_code == 204, confirmed.text
    call.evidence.secrets |= set(call("POST", "/v1/users/me/recovery-codes", token).json()["codes"])
    call.evidence.sources["the database"] = dump(call.dsn)
    assert call("DELETE", "/v1/users/me/totp", token).status_code == 204


async def fail(call: RecordingClient, database: asyncpg.Connection, root: str, path: str) -> None:
    """Break the database in three ways."""
    body = {"new_password": SECOND}
    await database.execute("ALTER TABLE users ADD CONSTRAINT broken CHECK (false) NOT VALID")
    assert call("PUT", f"{path}/password", root, body).status_code == 500
    await database.execute("ALTER TABLE users DROP CONSTRAINT broken")
    await database.execute("ALTER TABLE events RENAME TO gone")
    assert call("PUT", f"{path}/password", root, body).status_code >= 500
    await database.execute("ALTER TABLE gone RENAME TO events")
    await database.execute("ALTER TABLE sessions ALTER COLUMN user_agent TYPE varchar(1) USING ''")
    login = {"login_id": LOGIN_ID, "password": THIRD}
    assert call("POST", "/v1/sessions", json=login).status_code >= 500
    await database.execute("ALTER TABLE sessions ALTER COLUMN user_agent TYPE text")
    await database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    call("PUT", f"{path}/password", root, body)
    assert call("POST", "/v1/sessions", json={"login_id": LOGIN_ID, "password": SECOND}).status_code == 201


def dump(dsn: str) -> str:
    command = [str(binary("pg_dump")), "--inserts", dsn]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=True).stdout


def title_of(pid: int) -> str:
    process = Path(f"/proc/{pid}")
    return "".join((process / name).read_text() for name in ("cmdline", "comm"))


def spellings(secret: str) -> Iterator[str]:
    """Yield the secret as it is, without its prefix, and in common encodings."""
    core = secret[4:] if re.match("rc[skrd]_", secret) else secret
    for text in {secret, core}:
        yield text
        yield quote(text)
        yield text.encode().hex()
        yield b64encode(text.encode()).decode()[:-4]


def server_log() -> bytes:
    """Return what the test server has logged so far."""
    return Path(os.environ.get("TEST_DATABASE_LOG", ROOT / "var/test-postgres/log")).read_bytes()


@pytest.fixture
async def evidence(database: str, tmp_path: Path) -> Evidence:
    found = Evidence()
    log_start = len(server_log())
    connection = await asyncpg.connect(database)
    await connection.execute(
        "INSERT INTO users (id, login_id, name, role, password_hash)"
        " VALUES (gen_random_uuid(), 'root', 'Root', 'admin', $1)",
        argon2.PasswordHasher(1, 8, 1, 32, 16).hash(ROOTS),
    )
    with service_process(
        tmp_path,
        DATABASE_URL=database,
        ROLLCALL_LOG__LEVEL="debug",
        ROLLCALL_LOG__FORMAT="json",
        ROLLCALL_SECRETS__KEY=b64encode(bytes(range(32))).decode(),
    ) as service:
        await call_every_operation(RecordingClient(service, found, database), connection)
        found.sources["the title of the process"] = title_of(service.process.pid)
        found.sources["the metrics"] = service.get("/metrics").text
        service.stop()
        found.sources["the log"] = service.output()
    await connection.close()
    found.sources["the database"] += dump(database)
    found.sources["the errors"] = "\n".join(found.errors)
    found.sources["PostgreSQL's log"] = server_log()[log_start:].decode(errors="replace")
    return found


async def test_full_run_leaves_no_secret_in_logs_database_or_responses(evidence: Evidence) -> None:
    kinds = {secret[:4] for secret in evidence.secrets}
    assert {"rcs_", "rck_", "rcr_", "rcd_"} <= kinds
    for source, text in evidence.sources.items():
        assert text, source
        for secret in evidence.secrets:
            for spelling in spellings(secret):
                assert spelling not in text, f"{source} has {spelling[:8]}…"

    digests = {
        hashlib.sha256(secret.encode()).hexdigest() for secret in evidence.secrets if secret[:2] == "rc"
    }
    dumped = evidence.sources.pop("the database")
    assert "$argon2id$" in dumped
    assert any(digest in dumped for digest in digests)
    for source, text in evidence.sources.items():
        assert not re.search(r"\$argon2|\$2b\$|pbkdf2|scrypt\$", text), source
        assert not any(digest in text for digest in digests), source
    for source in ("the log", "PostgreSQL's log", "the metrics"):
        assert "canary" not in evidence.sources[source].lower(), source
    check_lines(evidence.sources["the log"])


def check_lines(log: str) -> None:
    """Check that each line is one JSON object without control characters."""
    lines = [json.loads(line) for line in log.splitlines()]
    assert {"request", "request_failed", "login.failed", "password.changed"} <= {
        line["event"] for line in lines
    }
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", log)
    assert all(line["at"].endswith("Z") and line["level"] for line in lines)
