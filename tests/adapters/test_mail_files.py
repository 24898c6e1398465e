"""Mails as files."""

from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.adapters.mail_files import FileTransport
from service.domain.mail import DeliveryFailed


def message(text: str = "Hello.") -> EmailMessage:
    made = EmailMessage()
    made["To"], made["Message-ID"] = "ada@example.org", "<0198@example.org>"
    made.set_content(text)
    return made


def files_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_send_writes_a_file_for_its_owner_alone_and_logs_where(tmp_path: Path) -> None:
    transport = FileTransport(tmp_path / "mail")
    with capture_logs() as lines:
        await transport.send(message(), "ada@example.org")
    path = tmp_path / "mail/0198.eml"
    assert message_from_bytes(path.read_bytes(), policy=policy.default).get_content() == "Hello.\n"
    assert [oct(each.stat().st_mode & 0o777) for each in (path.parent, path)] == ["0o700", "0o600"]
    assert [(line["event"], line["file"]) for line in lines] == [("mail_written", str(path))]


async def test_send_again_replaces_the_file(tmp_path: Path) -> None:
    transport = FileTransport(tmp_path)
    await transport.send(message("First."), "ada@example.org")
    await transport.send(message("Second."), "ada@example.org")
    assert files_in(tmp_path) == ["0198.eml"]
    assert (tmp_path / "0198.eml").read_text().endswith("Second.\n")


async def test_send_into_what_is_no_directory_is_an_outage(tmp_path: Path) -> None:
    (tmp_path / "mail").write_text("")
    with pytest.raises(DeliveryFailed) as raised:
        await FileTransport(tmp_path / "mail").send(message(), "ada@example.org")
    assert raised.value.is_outage


async def test_check_writes_nothing_and_fails_where_nothing_can_be_written(tmp_path: Path) -> None:
    await FileTransport(tmp_path / "mail").check()
    assert files_in(tmp_path) == []
    (tmp_path / "mail").write_text("")
    with pytest.raises(DeliveryFailed, match="cannot be written to"):
        await FileTransport(tmp_path / "mail").check()
