"""Importing and exporting users: every line is accounted for."""

import io
import json
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest

from service.cli.bulk import export_lines, import_lines
from service.cli.import_lines import MAX_LINE_BYTES
from service.cli.import_report import ImportResult
from service.services import Services
from tests.cli.conftest import Command
from tests.support.api import Api
from tests.support.databases import fetch_values

IDS = [f"00000000-0000-7000-8000-00000000000{number}" for number in range(10)]
CREATED, LAST = "2019-03-04T05:06:07.000008Z", "2021-01-02T03:04:05Z"

Outcome = tuple[int, int, int]


async def run_import(
    service: Services, *lines: object, start: bytes = b""
) -> tuple[Outcome, list[dict[str, Any]]]:
    """Import lines, bytes or objects to encode; return the counts and the report."""
    encoded = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    report = io.BytesIO()
    result = await import_lines(service, io.BytesIO(start + b"\n".join(encoded)), ImportResult(report))
    reported = [json.loads(line) for line in report.getvalue().splitlines()]
    return (result.added, result.present, result.rejected), reported


async def test_import_of_an_id_that_another_user_has_rejects_the_line(service: Services) -> None:
    await run_import(service, {"login_id": "p1", "id": IDS[1]})
    outcome, reported = await run_import(
        service,
        {"login_id": "p2", "id": IDS[1]},
        {"login_id": "P1", "id": IDS[1]},
        {"login_id": "p3", "id": IDS[3]},
        {"login_id": "p4", "id": IDS[3]},
    )
    assert outcome == (1, 1, 2)
    assert [(error["line"], error["login_id"], error["field"], error["code"]) for error in reported] == [
        (1, "p2", "/id", "id_taken"),
        (4, "p4", "/id", "id_taken"),
    ]
    assert await fetch_values(service.engine, "SELECT login_id FROM users ORDER BY 1") == [("p1",), ("p3",)]


async def test_import_of_a_login_id_that_another_user_has_rejects_the_line(service: Services) -> None:
    await run_import(service, {"login_id": "p1", "id": IDS[1]}, {"login_id": "p2", "id": IDS[2]})
    outcome, reported = await run_import(
        service,
        {"login_id": "p1", "id": IDS[3]},
        {"login_id": "p2", "id": IDS[1]},
    )
    assert outcome == (0, 0, 2)
    assert [(error["line"], error["field"], error["code"]) for error in reported] == [
        (1, "/login_id", "login_id_taken"),
        (2, "/id", "id_taken"),
        (2, "/login_id", "login_id_taken"),
    ]


async def test_import_of_a_login_id_twice_in_a_file_names_both_lines(service: Services) -> None:
    outcome, reported = await run_import(
        service, {"login_id": "ada"}, b"", {"login_id": "bob"}, {"login_id": "ADA", "name": "Ada"}
    )
    assert outcome == (2, 0, 1)
    assert reported == [
        {
            "line": 4,
            "login_id": "ADA",
            "field": "/login_id",
            "code": "duplicate_login_id",
            "message": "Lines 1 and 4 have the same login id.",
        }
    ]


async def test_import_twice_of_the_same_file_finds_every_user_present(service: Services) -> None:
    lines = ({"login_id": "ada"}, {"login_id": "bob", "id": IDS[2]})
    assert (await run_import(service, *lines))[0] == (2, 0, 0)
    assert await run_import(service, *lines) == ((0, 2, 0), [])


@pytest.mark.parametrize(
    ("line", "field", "code"),
    [
        ({"login_id": "x", "unknown": 1}, "/unknown", "unknown_field"),
        ({"name": "x"}, "/login_id", "missing_field"),
        ({"login_id": None}, "/login_id", "wrong_type"),
        ({"login_id": 7}, "/login_id", "wrong_type"),
        ({"login_id": "a b"}, "/login_id", "invalid_value"),
        ({"login_id": "x", "name": " "}, "/name", "invalid_value"),
        ({"login_id": "x", "name": 1}, "/name", "wrong_type"),
        ({"login_id": "x", "role": "owner"}, "/role", "invalid_value"),
        ({"login_id": "x", "state": None}, "/state", "wrong_type"),
        ({"login_id": "x", "id": "17"}, "/id", "invalid_value"),
        ({"login_id": "x", "must_change": "yes"}, "/must_change", "wrong_type"),
        ({"login_id": "x", "password_hash": "secret"}, "/password_hash", "invalid_value"),
        ({"login_id": "x", "created_at": "yesterday"}, "/created_at", "invalid_value"),
        ({"login_id": "x", "created_at": "2019-03-04T05:06:07"}, "/created_at", "invalid_value"),
        ({"login_id": "x", "last_login_at": "0001-01-01T00:00:00+14:00"}, "/last_login_at", "out_of_range"),
        ({"login_id": "x", "email_verified": True}, "/email_verified", "conflicting_fields"),
        ({"login_id": "x", "email": None, "email_verified": True}, "/email_verified", "conflicting_fields"),
        (["x"], "", "wrong_type"),
        (b"no json", "", "malformed_json"),
        (b'{"login_id":"x"} {"login_id":"y"}', "", "malformed_json"),
        (b'{"login_id":"x","login_id":"y"}', "", "malformed_json"),
        (b'{"login_id":"x","name":"Andr\xe9"}', "", "invalid_encoding"),
        (b'{"login_id":"x","name":"' + b"y" * MAX_LINE_BYTES + b'"}', "", "too_long"),
    ],
)
async def test_import_names_the_field_of_a_bad_line_and_adds_the_others(
    service: Services, line: object, field: str, code: str
) -> None:
    outcome, (reported,) = await run_import(service, {"login_id": "ada"}, line, {"login_id": "bob"})
    assert outcome == (2, 0, 1)
    assert (reported["line"], reported["field"], reported["code"]) == (2, field, code)
    assert reported["message"]
    assert await fetch_values(service.engine, "SELECT login_id FROM users ORDER BY 1") == [("ada",), ("bob",)]


async def test_import_shows_which_byte_of_a_line_is_not_utf8(service: Services) -> None:
    _, (reported,) = await run_import(service, b'{"login_id":"x","name":"Andr\xe9"}')
    assert reported["message"] == "Byte 29 of the line is not UTF-8."


async def test_import_keeps_the_times_of_the_other_system(service: Services) -> None:
    await run_import(
        service,
        {"login_id": "ada", "created_at": CREATED, "last_login_at": "2021-01-02T05:04:05+02:00"},
        {"login_id": "bob", "created_at": None, "last_login_at": None},
    )
    rows = await fetch_values(
        service.engine,
        "SELECT created_at, last_login_at, updated_at > now() - interval '1 hour' FROM users"
        " WHERE login_id = 'ada'",
    )
    assert rows == [
        (datetime(2019, 3, 4, 5, 6, 7, 8, tzinfo=UTC), datetime(2021, 1, 2, 3, 4, 5, tzinfo=UTC), True)
    ]
    begun_here = "SELECT last_login_at FROM users WHERE created_at > now() - interval '1 hour'"
    assert await fetch_values(service.engine, begun_here) == [(None,)]


async def test_export_of_an_import_has_the_same_values(service: Services) -> None:
    line = {
        "login_id": "ada",
        "name": "Ada",
        "id": IDS[1],
        "role": "admin",
        "state": "disabled",
        "must_change": True,
        "password_hash": "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "created_at": CREATED,
        "last_login_at": LAST,
        "email": "ada@example.org",
        "email_verified": True,
        "locale": "de",
        "external_id": "crm-4711",
        "metadata": {"plan": "pro"},
    }
    assert (await run_import(service, line))[0] == (1, 0, 0)
    out = io.BytesIO()
    await export_lines(service, out, with_hashes=True)
    exported = json.loads(out.getvalue())
    del exported["updated_at"]
    assert exported == line


async def test_import_without_a_name_takes_the_login_id(service: Services) -> None:
    outcome, _ = await run_import(
        service, {"login_id": "Ada"}, {"login_id": "bob", "name": None}, {"login_id": "c" * 254}
    )
    assert outcome == (3, 0, 0)
    names = await fetch_values(service.engine, "SELECT name FROM users ORDER BY 1")
    assert names == [("Ada",), ("bob",), ("c" * 200,)]


@pytest.mark.parametrize("unusable", ["!", "!JZXyn8fS0SRDwIqgPy2CtWbOWrYfRVGxmFW0fUSB", "", None])
async def test_import_of_an_unusable_password_makes_a_user_without_one(
    api: Api, unusable: str | None
) -> None:
    assert (await run_import(api.service, {"login_id": "ada", "password_hash": unusable}))[0] == (1, 0, 0)
    assert await fetch_values(api.service.engine, "SELECT password_hash FROM users") == [(None,)]
    assert (await api.log_in("ada", unusable or "")).status_code == 401


async def test_import_skips_a_byte_order_mark(service: Services) -> None:
    outcome, _ = await run_import(service, {"login_id": "ada"}, {"login_id": "bob"}, start=b"\xef\xbb\xbf")
    assert outcome == (2, 0, 0)


@pytest.mark.parametrize(
    ("encoding", "name"),
    [("utf-16", "UTF-16"), ("utf-16-le", "UTF-16LE"), ("utf-16-be", "UTF-16BE"), ("utf-32", "UTF-32")],
)
async def test_import_of_another_encoding_names_it(service: Services, encoding: str, name: str) -> None:
    file = io.BytesIO('{"login_id":"ada"}\n'.encode(encoding))
    with pytest.raises(click.ClickException, match=f"The file is {name}: "):
        await import_lines(service, file)


async def test_import_of_a_thousand_bad_lines_among_five_thousand_reports_each(
    command: Command, service: Services, shared_database: str, tmp_path: Path
) -> None:
    path, report = tmp_path / "users.ndjson", tmp_path / "report.ndjson"
    lines = [
        {"login_id": f"user{number}"} | ({"role": "owner"} if number % 5 == 0 else {})
        for number in range(1, 5001)
    ]
    path.write_text("\r\n".join(map(json.dumps, lines)))
    report.touch(0o644)
    done = await command("users", "import", str(path), "--report", str(report), DATABASE_URL=shared_database)
    assert (done.returncode, done.stdout) == (1, "4000 added, 0 existed, 1000 rejected.\n")
    shown = done.stderr.splitlines()
    assert shown[0] == "Line 5: /role invalid_value: The value is not valid here."
    assert shown[19:] == [
        "Line 100: /role invalid_value: The value is not valid here.",
        "Further errors are in the report.",
    ]
    reported = [json.loads(line) for line in report.read_bytes().splitlines()]
    assert [(error["line"], error["login_id"]) for error in reported] == [
        (number, f"user{number}") for number in range(5, 5001, 5)
    ]
    assert stat.S_IMODE(report.stat().st_mode) == 0o600
    assert await fetch_values(service.engine, "SELECT count(*) FROM users") == [(4000,)]


async def test_import_without_a_report_shows_how_to_get_one(
    command: Command, service: Services, shared_database: str
) -> None:
    done = await command("users", "import", "-", stdin="no json\n" * 21, DATABASE_URL=shared_database)
    assert done.returncode == 1
    assert done.stderr.splitlines()[20:] == [
        "Further errors are not shown; --report FILE writes all of them."
    ]


async def test_import_exits_0_if_every_user_was_added_or_existed(
    command: Command, service: Services, shared_database: str
) -> None:
    for counts in ("1 added, 0 existed, 0 rejected", "0 added, 1 existed, 0 rejected"):
        done = await command(
            "users", "import", "-", stdin='{"login_id":"ada"}\n', DATABASE_URL=shared_database
        )
        assert (done.returncode, done.stdout) == (0, f"{counts}.\n")


async def test_import_with_a_report_that_cannot_be_written_imports_nothing(
    command: Command, service: Services, shared_database: str, tmp_path: Path
) -> None:
    done = await command(
        "users",
        "import",
        "-",
        "--report",
        str(tmp_path / "no" / "report"),
        stdin='{"login_id":"ada"}\n',
        DATABASE_URL=shared_database,
    )
    assert (done.returncode, done.stderr) == (1, "The report cannot be written: No such file or directory.\n")
    assert await fetch_values(service.engine, "SELECT count(*) FROM users") == [(0,)]


async def test_import_does_not_overwrite_its_own_file_by_the_report(
    command: Command, service: Services, shared_database: str, tmp_path: Path
) -> None:
    path = tmp_path / "users.ndjson"
    path.write_text("no json\n")
    done = await command("users", "import", str(path), "--report", str(path), DATABASE_URL=shared_database)
    assert (done.returncode, done.stderr) == (1, "The report would overwrite the file that is imported.\n")
    assert path.read_text() == "no json\n"
