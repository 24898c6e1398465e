"""Files that a command writes."""

import errno
import os
import stat
from pathlib import Path

import pytest

from service.cli.files import private_output


def test_private_output_to_a_link_replaces_the_file_that_it_leads_to(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("earlier")
    link.symlink_to(file)
    with private_output(link) as output:
        output.write(b"new")
        assert file.read_text() == "earlier"
    assert (link.readlink(), file.read_text(), stat.S_IMODE(file.stat().st_mode)) == (file, "new", 0o600)


def test_private_output_to_a_pipe_writes_to_the_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with private_output(pipe) as output:
            output.write(b"new")
        assert os.read(reader, 10) == b"new"
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_private_output_to_a_file_that_is_mounted_alone_writes_into_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace(_self: Path, _target: Path) -> Path:
        raise OSError(errno.EBUSY, "Device or resource busy")

    file = tmp_path / "file"
    file.write_text("earlier")
    file.chmod(0o644)
    monkeypatch.setattr(Path, "replace", replace)
    with private_output(file) as output:
        output.write(b"new")
    assert list(tmp_path.iterdir()) == [file]
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("new", 0o600)
