"""The mailbox of the kit."""

from pathlib import Path

from rollcall_testkit.mailbox import Mailbox


def test_wait_for_a_mail_to_an_address_in_any_case_returns_it(tmp_path: Path) -> None:
    """The service keeps addresses in lower case, however a test has typed them."""
    (tmp_path / "0198.eml").write_text("To: ada@example.org\nSubject: Hello\n\n    rcr_x\n")
    mailbox = Mailbox(tmp_path)
    assert mailbox.wait("Ada@Example.org", timeout=0).token == "rcr_x"
    assert mailbox.mails("bob@example.org") == []
