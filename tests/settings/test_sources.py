import os
from pathlib import Path

import pytest

from settings import SettingsError, get_settings
from tests.settings.conftest import Variables


def problems() -> list[str]:
    with pytest.raises(SettingsError) as caught:
        get_settings()
    return caught.value.problems


def secrets(**files: str) -> Path:
    Path("secrets").mkdir()
    for name, text in files.items():
        (Path("secrets") / name).write_text(text)
    return Path("secrets")


def test_read_variables_from_all_sources_uses_the_first(variables: Variables) -> None:
    secrets(ROLLCALL_HTTP__PORT="1", ROLLCALL_HTTP__WORKERS="2", ROLLCALL_HTTP__HOST="::1")
    Path(".env").write_text("ROLLCALL_HTTP__PORT=3\nROLLCALL_HTTP__WORKERS=4\n")
    variables.set(ROLLCALL_HTTP__PORT="5")
    http = get_settings().http
    assert (http.port, http.workers, http.host) == (5, 4, "::1")


def test_read_variables_in_lower_case_are_used_unless_upper_case_is_set(variables: Variables) -> None:
    variables.set(rollcall_http__port="5", ROLLCALL_HTTP__WORKERS="2", rollcall_http__workers="3")
    assert (get_settings().http.port, get_settings().http.workers) == (5, 2)


def test_read_variables_that_are_empty_count_as_unset(variables: Variables) -> None:
    Path(".env").write_text("ROLLCALL_HTTP__PORT=3\nROLLCALL_LOG__LEVEL=\n")
    variables.set(ROLLCALL_HTTP__PORT=" ", DATABASE_URL="", ROLLCALL_SECRETS_DIR="")
    settings = get_settings()
    assert (settings.http.port, settings.log.level, settings.database.dsn) == (3, "info", None)


def test_read_variables_from_dotenv_parses_quotes_and_comments_but_expands_nothing() -> None:
    text = "\ufeffexport ROLLCALL_SERVICE_NAME='staff' # why\nDATABASE_URL=\"postgresql://u:${HOME}@db/x\"\nOTHER\n"
    Path(".env").write_text(text, encoding="utf-8")
    settings = get_settings()
    assert (settings.service_name, settings.database.dsn) == ("staff", "postgresql://u:${HOME}@db/x")


@pytest.mark.parametrize("content", [b"ROLLCALL_HTTP__PORT=1\nROLLCALL_HTTP__HOST='a\n", b"= 7\n"])
def test_read_variables_from_a_broken_dotenv_names_the_line(content: bytes) -> None:
    Path(".env").write_bytes(content)
    (problem,) = problems()
    assert problem.startswith(".env: line ")


def test_read_variables_from_an_unreadable_dotenv_is_reported() -> None:
    Path(".env").write_bytes(b"ROLLCALL_HTTP__HOST=\xff\n")
    assert problems() == [".env: cannot be read as UTF-8 text"]


def test_read_variables_from_secrets_strips_the_line_end_and_ignores_other_files() -> None:
    directory = secrets(database_url="postgresql://u:p@db/x\n", tls_key="\0", Rollcall_Http__Port="9")
    (directory / "rhsm").mkdir()
    assert get_settings().database.dsn == "postgresql://u:p@db/x"
    assert get_settings().http.port == 9


@pytest.mark.parametrize("place", ["environment", "dotenv"])
def test_read_variables_with_a_configured_secrets_directory_reads_it(
    place: str, variables: Variables
) -> None:
    secrets(ROLLCALL_HTTP__PORT="9").rename("elsewhere")
    if place == "dotenv":
        Path(".env").write_text("ROLLCALL_SECRETS_DIR=elsewhere")
    else:
        variables.set(ROLLCALL_SECRETS_DIR="elsewhere")
    assert get_settings().http.port == 9


def test_read_variables_with_a_missing_secrets_directory_is_reported(variables: Variables) -> None:
    assert variables.problems(ROLLCALL_SECRETS_DIR="nowhere") == [
        "ROLLCALL_SECRETS_DIR: must be a directory that can be read"
    ]


def test_read_variables_from_a_secret_that_is_not_text_is_reported() -> None:
    (secrets() / "database_url").mkdir()
    assert problems() == ["DATABASE_URL: its secrets file cannot be read as UTF-8 text"]


def test_read_variables_from_a_secret_with_a_byte_order_mark_strips_it() -> None:
    secrets(database_url="\ufeffpostgresql://u:p@db/x\r\n")
    assert get_settings().database.dsn == "postgresql://u:p@db/x"


def test_read_variables_from_dotenv_with_a_byte_order_mark_reads_the_first_line() -> None:
    Path(".env").write_text("\ufeffROLLCALL_HTTP__PORT=3\n", encoding="utf-8")
    assert get_settings().http.port == 3


@pytest.mark.parametrize("text", ["postgresql://u:p@db/x\n", "\ufeffpostgresql://u:p@db/x\r\n"])
def test_read_variables_with_the_file_of_a_secret_reads_it(variables: Variables, text: str) -> None:
    Path("url").write_text(text, encoding="utf-8")
    secrets(DATABASE_URL="postgresql://elsewhere/x")
    variables.set(DATABASE_URL_FILE="url", ROLLCALL_MIGRATIONS__DATABASE_URL_FILE="url")
    settings = get_settings()
    assert (settings.database.dsn, settings.migrations_dsn) == ("postgresql://u:p@db/x",) * 2


def test_read_variables_with_the_file_of_a_secret_in_dotenv_reads_it() -> None:
    Path("url").write_text("postgresql://u:p@db/x")
    Path(".env").write_text("ROLLCALL_DATABASE__REPLICA_URL_FILE=url")
    assert get_settings().database.replica_dsn == "postgresql://u:p@db/x"


def test_read_variables_with_a_secret_and_its_file_is_reported(variables: Variables) -> None:
    Path("url").write_text("postgresql://u:p@db/x")
    assert variables.problems(DATABASE_URL="postgresql://db/x", DATABASE_URL_FILE="url") == [
        "DATABASE_URL: must not be set together with DATABASE_URL_FILE"
    ]


def test_read_variables_with_files_of_secrets_that_hold_nothing_are_all_reported(
    variables: Variables,
) -> None:
    Path("empty").write_text("\n")
    assert variables.problems(DATABASE_URL_FILE="nowhere", ROLLCALL_DATABASE__REPLICA_URL_FILE="empty") == [
        "DATABASE_URL_FILE: its file cannot be read as UTF-8 text",
        "ROLLCALL_DATABASE__REPLICA_URL_FILE: its file must not be empty",
    ]


def test_read_variables_with_a_wrong_file_is_reported_together_with_other_wrong_values(
    variables: Variables,
) -> None:
    assert variables.problems(
        DATABASE_URL="mysql://db/x",
        DATABASE_URL_FILE="url",
        ROLLCALL_SECRETS__KEY_FILE="nowhere",
        ROLLCALL_FACTORS__REQUIRED="admins",
        ROLLCALL_HTTP__PORT="x",
        ROLLCALL_XYZZY="1",
    ) == [
        "ROLLCALL_XYZZY: no such setting",
        "DATABASE_URL: must not be set together with DATABASE_URL_FILE",
        "ROLLCALL_SECRETS__KEY_FILE: its file cannot be read as UTF-8 text",
        "ROLLCALL_HTTP__PORT: must be a whole number from 1 to 65535",
    ]


def test_read_variables_with_the_file_of_no_secret_is_reported(variables: Variables) -> None:
    assert variables.problems(ROLLCALL_HTTP__PORT_FILE="x", ROLLCALL_DATABASE__URL_FILE="x") == [
        "ROLLCALL_DATABASE__URL_FILE: no such setting; did you mean DATABASE_URL_FILE?",
        "ROLLCALL_HTTP__PORT_FILE: no such setting; only a secret can be read from a file",
    ]


def test_read_variables_that_kubernetes_sets_for_a_service_are_ignored(
    variables: Variables,
) -> None:
    variables.set(
        ROLLCALL_SERVICE_HOST="10.0.0.1",
        ROLLCALL_SERVICE_PORT="80",
        ROLLCALL_SERVICE_PORT_HTTP="80",
        ROLLCALL_PORT="tcp://10.0.0.1:80",
        ROLLCALL_PORT_80_TCP="tcp://10.0.0.1:80",
        ROLLCALL_PORT_80_TCP_ADDR="10.0.0.1",
        ROLLCALL_HTTP_PORT="tcp://10.0.0.1:80",
    )
    assert get_settings().http.port == 8000


@pytest.mark.parametrize("name", ["ROLLCALL_PORT", "ROLLCALL_HTTP_PORT"])
def test_read_variables_that_only_look_like_kubernetes_are_reported(name: str, variables: Variables) -> None:
    assert variables.problems(**{name: "80"}) == [
        f"{name}: no such setting; did you mean ROLLCALL_HTTP__PORT?"
    ]


def test_read_variables_of_settings_with_a_kubernetes_address_are_reported(variables: Variables) -> None:
    assert variables.problems(ROLLCALL_HTTP__PORT="tcp://10.0.0.1:80") == [
        "ROLLCALL_HTTP__PORT: must be a whole number from 1 to 65535"
    ]


def test_get_settings_changes_neither_files_nor_environment() -> None:
    before = dict(os.environ)
    get_settings()
    assert list(Path.cwd().iterdir()) == []
    assert dict(os.environ) == before
