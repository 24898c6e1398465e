"""Details of accounts in files and commands."""

import io
import json
from pathlib import Path

from service.cli.bulk import export_lines, import_lines
from service.services import Services
from tests.api.test_details import DETAILS, NEW
from tests.cli.conftest import Command
from tests.support.api import Api
from tests.support.databases import fetch_values

OF_ROW = """
    SELECT email, email_verified_at IS NOT NULL, locale, external_id, metadata
    FROM users WHERE login_id = '{}'
    """


async def test_import_of_an_export_restores_the_details(api: Api, service: Services) -> None:
    admin, out = api.by(await api.admin()), io.BytesIO()
    path = (await admin.post("/v1/users", NEW | DETAILS)).headers["Location"]
    before = await fetch_values(service.engine, OF_ROW.format("grace"))
    await export_lines(service, out, with_hashes=True)
    await admin.delete(path)
    out.seek(0)
    assert (await import_lines(service, out)).added == 1
    assert await fetch_values(service.engine, OF_ROW.format("grace")) == before
    assert before[0][:4] == ("grace@example.org", True, "de-AT", "crm-4711")


async def test_import_of_many_lines_keeps_the_details_of_each(service: Services) -> None:
    lines = [
        {"login_id": "a@example.org", "name": "A"},
        {
            "login_id": "b",
            "name": "B",
            "email": "b@example.org",
            "email_verified": True,
            "metadata": {"n": 1},
        },
        {"login_id": "c", "name": "C", "email": "no address"},
    ]
    file = io.BytesIO(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    result = await import_lines(service, file)
    assert (result.added, result.rejected) == (2, 1)
    rows = [
        (await fetch_values(service.engine, OF_ROW.format(name)))[0][:2] for name in ("a@example.org", "b")
    ]
    assert rows == [("a@example.org", False), ("b@example.org", True)]


async def test_import_of_a_verified_login_id_takes_it_for_the_address_as_the_api_does(
    service: Services,
) -> None:
    file = io.BytesIO(b'{"login_id":"a@example.org","email_verified":true}\n{"login_id":"b@example.org"}\n')
    assert (await import_lines(service, file)).added == 2
    for name, is_verified in (("a@example.org", True), ("b@example.org", False)):
        assert (await fetch_values(service.engine, OF_ROW.format(name)))[0][:2] == (name, is_verified)


async def test_create_user_with_an_invitation_queues_its_mail_and_keeps_the_details(
    api: Api, service: Services, command: Command, shared_database: str
) -> None:
    details = ["--email", "ada@example.org", "--locale", "DE-at", "--external-id", "crm-17"]
    made = await command("users", "create", "ada", "--invite", *details, DATABASE_URL=shared_database)
    said = "The user ada was created; the running service sends the invitation.\n"
    assert (made.returncode, made.stdout) == (0, said)
    row = await fetch_values(service.engine, OF_ROW.format("ada"))
    assert row == [("ada@example.org", True, "de-AT", "crm-17", {})]
    mails = await fetch_values(service.engine, "SELECT kind, recipient, locale FROM outbox")
    assert mails == [("invitation", "ada@example.org", "de-AT")]


async def test_create_user_with_an_invitation_and_no_address_exits_2(
    command: Command, shared_database: str
) -> None:
    made = await command("users", "create", "ada", "--invite", DATABASE_URL=shared_database)
    assert (made.returncode, made.stderr) == (2, "email: An invitation needs an address.\n")


async def test_create_user_with_an_address_has_it_verified(
    api: Api, service: Services, command: Command, shared_database: str
) -> None:
    made = await command(
        "users",
        "create",
        "ada",
        "--no-password",
        "--email",
        "Ada@example.org",
        "--json",
        DATABASE_URL=shared_database,
    )
    assert json.loads(made.stdout)["email"] == "ada@example.org"
    assert (await fetch_values(service.engine, OF_ROW.format("ada")))[0][:2] == ("ada@example.org", True)


async def test_import_of_a_taken_address_or_external_id_names_the_field(
    api: Api, service: Services, tmp_path: Path
) -> None:
    await api.by(await api.admin()).post("/v1/users", NEW | DETAILS)
    lines = [
        {"login_id": "a", "email": "grace@example.org", "email_verified": True},
        {"login_id": "b", "external_id": "crm-4711"},
    ]
    file = io.BytesIO(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    result = await import_lines(service, file)
    assert (result.added, result.rejected) == (0, 2)
