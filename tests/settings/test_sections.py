from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from settings import Settings, get_settings
from settings.values import ROOT
from tests.settings.conftest import Variables

LOW_COST = {"ROLLCALL_PASSWORDS__MEMORY_KIB": "8", "ROLLCALL_PASSWORDS__ITERATIONS": "1"}


@pytest.mark.parametrize("value", ["embedded", "Embedded", " ", None])
def test_database_url_unset_or_embedded_means_the_embedded_one(
    value: str | None, variables: Variables
) -> None:
    if value is not None:
        variables.set(DATABASE_URL=value)
    settings = get_settings()
    assert settings.database.dsn is None
    assert settings.database.masked_dsn == "embedded"
    assert settings.migrations_dsn is None
    assert settings.migrates_on_start


def test_database_url_given_is_used_by_migrations_too_and_not_migrated_on_start(variables: Variables) -> None:
    variables.set(DATABASE_URL="postgres://db/x")
    settings = get_settings()
    assert settings.database.dsn == settings.migrations_dsn == "postgresql://db/x"
    assert not settings.migrates_on_start


def test_migrations_database_url_given_beats_the_other(variables: Variables) -> None:
    variables.set(DATABASE_URL="postgres://db/x", ROLLCALL_MIGRATIONS__DATABASE_URL="postgres://owner@db/x")
    assert get_settings().migrations_dsn == "postgresql://owner@db/x"
    assert get_settings().database.dsn == "postgresql://db/x"


def test_replica_url_given_is_read_as_the_other_and_never_shown(variables: Variables) -> None:
    assert get_settings().database.replica_dsn is None
    variables.set(ROLLCALL_DATABASE__REPLICA_URL="postgres://ada:hunter22@standby/x")
    database = get_settings().database
    assert database.replica_dsn == "postgresql://ada:hunter22@standby/x"
    assert database.masked_replica_dsn == "postgresql://ada:***@standby/x"
    assert "hunter22" not in repr(database)
    (problem,) = variables.problems(ROLLCALL_DATABASE__REPLICA_URL="mysql://ada:hunter22@standby/x")
    assert problem.startswith("ROLLCALL_DATABASE__REPLICA_URL: must")
    assert "hunter22" not in problem


@pytest.mark.parametrize("choice", ["true", "false"])
def test_migrations_on_start_given_is_followed(choice: str, variables: Variables) -> None:
    variables.set(ROLLCALL_MIGRATIONS__ON_START=choice)
    assert get_settings().migrates_on_start is (choice == "true")


@pytest.mark.parametrize(
    ("raw", "path"), [("data/pg", ROOT / "data/pg"), ("/srv/pg", Path("/srv/pg")), ("~", Path.home())]
)
def test_embedded_dir_that_is_relative_starts_at_the_checkout(
    raw: str, path: Path, variables: Variables
) -> None:
    assert get_settings().database.embedded_dir == ROOT / "var/postgres"
    variables.set(ROLLCALL_DATABASE__EMBEDDED_DIR=raw)
    assert get_settings().database.embedded_dir == path


def test_embedded_dir_in_the_home_of_an_unknown_user_is_rejected(variables: Variables) -> None:
    assert variables.problems(ROLLCALL_DATABASE__EMBEDDED_DIR="~no-such-user/pg") == [
        "ROLLCALL_DATABASE__EMBEDDED_DIR: must be a directory, relative to the checkout or absolute"
    ]


@pytest.mark.parametrize(("memory", "iterations"), [(47104, 1), (19456, 2), (12288, 3), (9216, 4), (7168, 5)])
def test_argon2_at_the_owasp_minimum_is_accepted_and_below_rejected(
    memory: int, iterations: int, variables: Variables
) -> None:
    variables.set(ROLLCALL_PASSWORDS__MEMORY_KIB=str(memory), ROLLCALL_PASSWORDS__ITERATIONS=str(iterations))
    assert get_settings().passwords.memory_kib == memory
    (problem,) = variables.problems(ROLLCALL_PASSWORDS__MEMORY_KIB=str(memory - 1))
    assert problem.startswith("ROLLCALL_PASSWORDS__MEMORY_KIB: must meet the OWASP minimum")


def test_profile_test_takes_cheap_argon2_but_production_does_not(variables: Variables) -> None:
    assert variables.problems(**LOW_COST)
    variables.set(ROLLCALL_PROFILE="test")
    assert get_settings().passwords.memory_kib == 8


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_profile_test_on_loopback_starts(host: str, variables: Variables) -> None:
    variables.set(ROLLCALL_PROFILE="test", ROLLCALL_HTTP__HOST=host)
    assert get_settings().http.is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
def test_profile_test_on_other_addresses_is_rejected(host: str, variables: Variables) -> None:
    variables.set(ROLLCALL_HTTP__HOST=host)
    assert not get_settings().http.is_loopback
    assert variables.problems(ROLLCALL_PROFILE="test") == [
        "ROLLCALL_HTTP__HOST: must be a loopback address while ROLLCALL_PROFILE is test"
    ]


@pytest.mark.parametrize("profile", ["production", "test"])
def test_password_length_below_eight_is_rejected_in_every_profile(profile: str, variables: Variables) -> None:
    variables.set(ROLLCALL_PROFILE=profile, ROLLCALL_PASSWORDS__MIN_LENGTH="8")
    assert get_settings().passwords.min_length == 8
    assert variables.problems(ROLLCALL_PASSWORDS__MIN_LENGTH="7") == [
        "ROLLCALL_PASSWORDS__MIN_LENGTH: must be a whole number from 8 to 64"
    ]


@pytest.mark.parametrize(
    ("host", "given", "is_served"),
    [
        ("127.0.0.1", None, True),
        ("127.0.0.1", "false", False),
        ("0.0.0.0", None, False),
        ("0.0.0.0", "true", True),
    ],
)
def test_docs_and_metrics_unset_are_served_on_loopback_only(
    host: str, given: str | None, is_served: bool, variables: Variables
) -> None:
    variables.set(ROLLCALL_HTTP__HOST=host)
    if given is not None:
        variables.set(ROLLCALL_HTTP__DOCS=given, ROLLCALL_METRICS__ENABLED=given)
    settings = get_settings()
    assert (settings.http.serves_docs, settings.serves_metrics_beside_api) == (is_served, is_served)


@pytest.mark.parametrize(("enabled", "port"), [(None, 9100), ("true", 9100), ("false", None)])
def test_metrics_port_given_takes_metrics_away_from_the_api(
    enabled: str | None, port: int | None, variables: Variables
) -> None:
    variables.set(ROLLCALL_METRICS__PORT="9100")
    if enabled is not None:
        variables.set(ROLLCALL_METRICS__ENABLED=enabled)
    assert get_settings().metrics.separate_port == port
    assert not get_settings().serves_metrics_beside_api


@pytest.mark.parametrize("role", ["app; DROP TABLE users", 'a"b', "1st"])
def test_serving_role_that_is_no_plain_name_is_rejected(role: str, variables: Variables) -> None:
    (problem,) = variables.problems(ROLLCALL_MIGRATIONS__SERVING_ROLE=role)
    assert problem.startswith("ROLLCALL_MIGRATIONS__SERVING_ROLE: must be the name of a role")


def test_idle_lifetimes_unset_are_at_most_the_absolute_lifetimes(variables: Variables) -> None:
    variables.set(ROLLCALL_SESSIONS__ABSOLUTE_TTL="10s", ROLLCALL_SESSIONS__ADMIN_ABSOLUTE_TTL="5s")
    sessions = get_settings().sessions
    assert (sessions.idle_ttl, sessions.admin_idle_ttl) == (timedelta(seconds=10), timedelta(seconds=5))
    assert sessions.touch_interval == timedelta(milliseconds=500)


@pytest.mark.parametrize(
    ("given", "read_pool"),
    [({"POOL_SIZE": "10"}, 4), ({"POOL_SIZE": "3"}, 2), ({"POOL_SIZE": "1"}, 0), ({"PGBOUNCER": "true"}, 0)],
)
def test_read_pool_unset_leaves_connections_for_writes(
    given: dict[str, str], read_pool: int, variables: Variables
) -> None:
    variables.set(**{f"ROLLCALL_DATABASE__{name}": value for name, value in given.items()})
    assert get_settings().database.read_pool_size == read_pool


@pytest.mark.parametrize(
    ("blamed", "values"),
    [
        ("SESSIONS__IDLE_TTL", {"SESSIONS__IDLE_TTL": "2d", "SESSIONS__ABSOLUTE_TTL": "1d"}),
        ("SESSIONS__ADMIN_IDLE_TTL", {"SESSIONS__ADMIN_IDLE_TTL": "13h"}),
        ("SESSIONS__TOUCH_INTERVAL", {"SESSIONS__TOUCH_INTERVAL": "10s", "SESSIONS__IDLE_TTL": "10s"}),
        ("DATABASE__LOCK_TIMEOUT", {"DATABASE__LOCK_TIMEOUT": "4001ms"}),
        ("DATABASE__STATEMENT_TIMEOUT", {"DATABASE__STATEMENT_TIMEOUT": "5s"}),
        ("DATABASE__READ_POOL_SIZE", {"DATABASE__READ_POOL_SIZE": "10"}),
        ("HTTP__REQUEST_TIMEOUT", {"HTTP__REQUEST_TIMEOUT": "5s"}),
        ("METRICS__PORT", {"METRICS__PORT": "8000"}),
        ("METRICS__HOST", {"METRICS__HOST": "127.0.0.1"}),
        (
            "PASSWORDS__MEMORY_KIB",
            {"PASSWORDS__MEMORY_KIB": "127", "PASSWORDS__PARALLELISM": "16", "PROFILE": "test"},
        ),
        ("THROTTLE__INITIAL_BACKOFF", {"THROTTLE__INITIAL_BACKOFF": "2s", "THROTTLE__MAX_BACKOFF": "1s"}),
        ("THROTTLE__FREE_ATTEMPTS", {"THROTTLE__FAILURES_IN_A_ROW": "4"}),
        ("THROTTLE__FAILURES_IN_A_ROW", {"THROTTLE__FAILURES_IN_A_ROW": "101"}),
        ("RETENTION__IDEMPOTENCY_TTL", {"RETENTION__IDEMPOTENCY_TTL": "23h"}),
        ("TOKENS__RESET_TTL", {"TOKENS__RESET_TTL": "25h"}),
        ("PASSWORDS__MEMORY_KIB", {"PASSWORDS__MEMORY_KIB": "262145"}),
        ("PASSWORDS__ITERATIONS", {"PASSWORDS__ITERATIONS": "11"}),
    ],
)
def test_settings_in_conflict_report_one_variable(
    blamed: str, values: dict[str, str], variables: Variables
) -> None:
    (problem,) = variables.problems(**{f"ROLLCALL_{name}": value for name, value in values.items()})
    assert problem.startswith(f"ROLLCALL_{blamed}: m")


@pytest.mark.parametrize("text", ["8_0", "+80", "80.0", "8e1", "\u0668\u0660", "0x50"])
@pytest.mark.parametrize("name", ["ROLLCALL_HTTP__PORT", "ROLLCALL_METRICS__PORT"])
def test_number_that_is_not_written_in_digits_is_rejected(name: str, text: str, variables: Variables) -> None:
    assert variables.problems(**{name: text}) == [f"{name}: must be a whole number from 1 to 65535"]


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "[::1]", "::g", "a..b", "-a", f"{'a' * 64}.example"])
def test_host_that_is_no_address_and_no_name_is_rejected(host: str, variables: Variables) -> None:
    problems = variables.problems(ROLLCALL_HTTP__HOST=host)
    assert problems == ["ROLLCALL_HTTP__HOST: must be an IP address or a host name, without port"]


@pytest.mark.parametrize("host", ["::", "fe80::1%eth0", "::ffff:127.0.0.1", "10.0.0.7", "db_1.example."])
def test_host_that_is_an_address_or_a_name_is_kept(host: str, variables: Variables) -> None:
    variables.set(ROLLCALL_HTTP__HOST=host)
    assert get_settings().http.host == host


def test_settings_given_as_arguments_override_variables_and_are_checked(variables: Variables) -> None:
    variables.set(ROLLCALL_HTTP__PORT="9", ROLLCALL_HTTP__WORKERS="2")
    settings = Settings.model_validate({"http": {"port": 10}})
    assert (settings.http.port, settings.http.workers) == (10, 2)
    with pytest.raises(ValidationError, match="OWASP minimum"):
        Settings.model_validate({"passwords": {"iterations": 1}})
    with pytest.raises(ValidationError, match="Extra inputs"):
        Settings.model_validate({"http": {"prt": 10}})


def test_settings_are_immutable() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        get_settings().http.port = 1
