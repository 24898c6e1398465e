"""Commands for users, one by one and in bulk."""

import errno
import io
import json
from pathlib import Path

import bcrypt
import click
import pytest

from service.cli.bulk import export_lines, import_lines
from service.cli.import_report import ImportResult
from service.services import Services
from tests.cli.conftest import Command
from tests.support.api import OTHER_PASSWORD, PASSWORD, Api
from tests.support.databases import fetch_values

HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()


async def test_create_and_disable_a_user_takes_effect_in_the_api(
    api: Api, command: Command, shared_database: str
) -> None:
    made = await command(
        "users", "create", "Ada", "--name", "Ada L", stdin=f"{PASSWORD}\n", DATABASE_URL=shared_database
    )
    assert (made.returncode, made.stdout) == (0, "The user ada was created.\n")
    assert (await api.log_in("ada")).status_code == 201
    assert PASSWORD not in made.stderr

    assert (await command("users", "disable", "ada", "--json", DATABASE_URL=shared_database)).returncode == 0
    assert (await api.log_in("ada")).status_code == 401
    listed = await command("users", "list", "--state", "disabled", "--json", DATABASE_URL=shared_database)
    assert [json.loads(line)["login_id"] for line in listed.stdout.splitlines()] == ["ada"]


async def test_reset_password_prints_a_token_that_sets_a_new_password(
    api: Api, command: Command, shared_database: str
) -> None:
    await api.account("ada")
    token = (await command("users", "reset-password", "ada", DATABASE_URL=shared_database)).stdout.strip()
    wanted = {"token": token, "new_password": OTHER_PASSWORD}
    assert (await api.post("/v1/reset-tokens/redeem", wanted)).status_code == 204
    assert (await api.log_in("ada", OTHER_PASSWORD)).status_code == 201


async def test_run_a_failing_command_prints_one_sentence_and_exits_1(
    api: Api, command: Command, shared_database: str
) -> None:
    absent = await command("users", "enable", "nobody", DATABASE_URL=shared_database)
    assert (absent.returncode, absent.stdout, absent.stderr) == (1, "", "There is no such user.\n")
    refused = await command("users", "import", "-", stdin="no json\n", DATABASE_URL=shared_database)
    assert (refused.returncode, refused.stdout) == (1, "0 added, 0 existed, 1 rejected.\n")


async def test_create_a_user_with_wrong_values_names_each(command: Command, shared_database: str) -> None:
    done = await command("users", "create", "a b", stdin="short\n", DATABASE_URL=shared_database)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("login_id: 1 to 254 characters")
    assert " password: A password has at least 15 characters." in done.stderr


@pytest.mark.parametrize("name", ["admin", "disable", "enable", "reset-password"])
async def test_name_a_login_id_that_cannot_be_one_exits_2(
    command: Command, shared_database: str, name: str
) -> None:
    done = await command("users", name, "a b", DATABASE_URL=shared_database)
    assert (done.returncode, done.stdout) == (2, "")
    assert "1 to 254 characters" in done.stderr


async def test_list_on_a_database_without_schema_advises_to_migrate(
    command: Command, empty_database: str
) -> None:
    done = await command("users", "list", DATABASE_URL=empty_database)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "The schema is missing or old: run `database migrate` first.\n"


async def test_list_on_an_unreachable_database_prints_its_url_without_the_password(command: Command) -> None:
    done = await command("users", "list", DATABASE_URL="postgresql://ada:hunter22@127.0.0.1:1/accounts")
    assert done.returncode == 1
    assert done.stderr == (
        "The database cannot be used: postgresql://ada:***@127.0.0.1:1/accounts. "
        "Nothing listens there: start PostgreSQL, or check host and port in DATABASE_URL.\n"
    )


async def test_import_with_imported_hashes_lets_the_users_log_in(api: Api) -> None:
    result = await import_users(
        api.service,
        {"login_id": "Ada", "name": "Ada", "password_hash": HASH, "role": "admin"},
        {"login_id": "bob", "name": "Bob", "password_hash": HASH, "state": "disabled"},
        {"login_id": "eve", "name": "Eve"},
    )

    assert (result.added, result.present, result.rejected) == (3, 0, 0)
    assert (await api.log_in("ada")).json()["user"]["role"] == "admin"
    assert (await api.log_in("bob")).status_code == 401
    assert (await api.log_in("eve")).status_code == 401


async def test_import_of_existing_users_does_not_change_them(service: Services) -> None:
    await import_users(service, {"login_id": "ada", "name": "Ada"})
    result = await import_users(
        service,
        {"login_id": "ADA", "name": "Somebody else", "role": "admin"},
        {"login_id": "bob", "name": "Bob"},
        {"login_id": "bob", "name": "Bob again"},
    )

    assert (result.added, result.present, result.rejected) == (1, 1, 1)
    rows = await fetch_values(service.engine, "SELECT login_id, name, role FROM users ORDER BY 1")
    assert rows == [("ada", "Ada", "user"), ("bob", "Bob", "user")]
    events = await fetch_values(
        service.engine, "SELECT action, actor_kind, count(*) FROM events GROUP BY 1, 2"
    )
    assert events == [("user.created", "operator", 2)]


async def test_import_rejects_invalid_lines_and_adds_the_others(service: Services) -> None:
    result = await import_users(
        service,
        {"login_id": "me", "name": "reserved"},
        {"login_id": "a b", "name": "bad"},
        {
            "login_id": "x",
            "name": "x",
            "password_hash": "$argon2id$v=19$m=99999999,t=1,p=1$c2FsdHNhbHQ$aGFzaA",
        },
        {"login_id": "x", "name": "x", "unknown": 1},
        {"login_id": 7, "name": "x"},
        ["no object"],
        {"login_id": "ada", "name": "Ada"},
    )

    assert (result.added, result.rejected) == (1, 6)


async def test_import_of_an_export_restores_the_same_user(api: Api) -> None:
    service, out = api.service, io.BytesIO()
    ada = await api.account("ada", must_change=True)
    before = await fetch_values(
        service.engine, "SELECT id, login_id, name, password_hash, must_change FROM users"
    )
    assert await export_lines(service, out, with_hashes=True) == 1
    await api.by(await api.admin()).delete(f"/v1/users/{ada.id}")

    out.seek(0)
    assert (await import_lines(service, out)).added == 1
    after = "SELECT id, login_id, name, password_hash, must_change FROM users WHERE login_id = 'ada'"
    assert await fetch_values(service.engine, after) == before


async def test_export_to_a_file_makes_it_private_and_is_recorded(
    api: Api, command: Command, shared_database: str, tmp_path: Path
) -> None:
    await api.account("ada")
    file = tmp_path / "users.jsonl"
    file.write_text("longer than what comes, " * 100)
    file.chmod(0o644)
    done = await command("users", "export", "--with-hashes", "-o", str(file), DATABASE_URL=shared_database)
    assert (done.returncode, done.stderr) == (0, "1 users.\n")
    assert json.loads(file.read_bytes())["password_hash"].startswith("$argon2id$")
    assert file.stat().st_mode & 0o777 == 0o600
    events = await fetch_values(api.service.engine, "SELECT action, actor_kind FROM events")
    assert events == [("users.exported", "operator")]


async def test_export_that_fails_keeps_the_earlier_file_and_leaves_no_other(
    command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "users.jsonl"
    file.write_text("earlier")
    done = await command("users", "export", "-o", str(file), DATABASE_URL="postgresql://ada@127.0.0.1:1/ada")
    assert done.returncode == 1
    assert texts_in(tmp_path) == {"users.jsonl": "earlier"}


async def test_export_to_a_closed_pipe_does_not_blame_the_database(api: Api) -> None:
    class ClosedPipe(io.BytesIO):
        def write(self, _: object) -> int:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    await api.account("ada")
    with pytest.raises(click.ClickException, match="The output cannot be written: Broken pipe"):
        await export_lines(api.service, ClosedPipe(), with_hashes=False)


async def test_export_to_a_directory_that_is_missing_names_it(command: Command, tmp_path: Path) -> None:
    done = await command("users", "export", "-o", str(tmp_path / "no/users"))
    assert done.returncode == 2
    assert "No such file or directory" in done.stderr


async def test_import_of_a_file_with_a_byte_order_mark_reads_its_first_line(service: Services) -> None:
    result = await import_lines(service, io.BytesIO(b'\xef\xbb\xbf{"login_id":"ada","name":"Ada"}\n'))
    assert (result.added, result.rejected) == (1, 0)


async def test_export_without_option_contains_no_hashes(api: Api) -> None:
    out = io.BytesIO()
    await api.account("ada")
    await export_lines(api.service, out, with_hashes=False)
    assert b"password_hash" not in out.getvalue()
    assert b"$argon2" not in out.getvalue()


def texts_in(directory: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in directory.iterdir()}


async def import_users(service: Services, *lines: object) -> ImportResult:
    return await import_lines(
        service, io.BytesIO(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    )
