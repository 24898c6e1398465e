"""Commands for mail."""

import json
from pathlib import Path

import pytest

from harness.mail_server import mail_server
from service.db.repositories.outbox import OutboxRepository
from service.domain.callers import OPERATOR
from service.domain.mail import MailKind, NewMail
from service.services import Services
from tests.cli.conftest import Command
from tests.support.databases import execute, fetch_values


def only_file_in(folder: Path) -> str:
    (path,) = folder.iterdir()
    return path.read_text()


async def test_list_shows_mails_by_state_and_retry_revives_a_dead_one(
    service: Services, command: Command, shared_database: str
) -> None:
    async with service.database.transaction(caller=OPERATOR) as tx:
        await OutboxRepository(tx).add(NewMail(MailKind.PASSWORD_CHANGED, "ada@example.org"))
    await execute(service.engine, "UPDATE outbox SET dead_at = now(), last_error = 'smtp 550'")

    listed = await command("mail", "list", "--state", "dead", "--json", DATABASE_URL=shared_database)
    (found,) = map(json.loads, listed.stdout.splitlines())
    assert (found["kind"], found["recipient"], found["state"], found["last_error"]) == (
        "password_changed",
        "ada@example.org",
        "dead",
        "smtp 550",
    )
    assert (
        await command("mail", "list", "--state", "sent", "--json", DATABASE_URL=shared_database)
    ).stdout == ""
    assert "ada@example.org" in (await command("mail", "list", DATABASE_URL=shared_database)).stdout

    retried = await command("mail", "retry", found["id"], DATABASE_URL=shared_database)
    assert (retried.returncode, retried.stdout) == (0, "The mail will be sent by the running service.\n")
    assert await fetch_values(service.engine, "SELECT dead_at FROM outbox") == [(None,)]


async def test_retry_of_a_mail_that_is_not_there_exits_1(
    service: Services, command: Command, shared_database: str
) -> None:
    missing = "0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e"
    refused = await command("mail", "retry", missing, DATABASE_URL=shared_database)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert (await command("mail", "retry", "x", DATABASE_URL=shared_database)).returncode == 2


async def test_send_a_test_mail_to_files_says_where(command: Command, tmp_path: Path) -> None:
    sent = await command("mail", "test", "ada@example.org", ROLLCALL_MAIL__DIRECTORY=str(tmp_path))
    assert (sent.returncode, sent.stdout) == (0, f"Accepted by {tmp_path}.\n")
    assert "Subject: Test mail from rollcall" in only_file_in(tmp_path)


@pytest.mark.parametrize("address", ["", "ada", "ada@"])
async def test_send_a_test_mail_to_what_is_no_address_exits_2(command: Command, address: str) -> None:
    refused = await command("mail", "test", address)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "such as ada@example.org" in refused.stderr


async def test_send_a_test_mail_that_is_rejected_exits_1_with_the_reason(command: Command) -> None:
    async with mail_server() as server:
        server.recipient_reply = "550 unknown"
        refused = await command(
            "mail",
            "test",
            "ada@example.org",
            ROLLCALL_MAIL__SMTP_URL=f"smtp://127.0.0.1:{server.port}",
            ROLLCALL_MAIL__FROM="us@example.org",
        )
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "smtp 550" in refused.stderr


async def test_write_samples_with_a_broken_template_exits_1(command: Command, tmp_path: Path) -> None:
    made = await command("mail", "samples", str(tmp_path / "made"))
    assert (made.returncode, made.stdout) == (0, f"{tmp_path}/made/index.html\n")
    (tmp_path / "en").mkdir()
    (tmp_path / "en/recovery.txt").write_text("{% if %}")
    broken = await command("mail", "samples", str(tmp_path / "x"), ROLLCALL_MAIL__TEMPLATES=str(tmp_path))
    assert (broken.returncode, broken.stdout) == (1, "")
    assert "en/recovery.txt, line 1" in broken.stderr
