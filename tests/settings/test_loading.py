import os

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st
from pydantic import ValidationError

from settings import Settings, SettingsError, get_settings, masked
from settings.database import DatabaseSettings
from settings.variables import setting_variables
from tests.settings.conftest import Variables

SECRET = "g3heim"
NAMES = list(setting_variables(Settings))
ANY_PATH = ("ROLLCALL_DATABASE__EMBEDDED_DIR", "ROLLCALL_MAIL__DIRECTORY")


def test_get_settings_called_twice_reads_once(variables: Variables) -> None:
    first = get_settings()
    os.environ["ROLLCALL_HTTP__PORT"] = "9"
    try:
        assert get_settings() is first
    finally:
        del os.environ["ROLLCALL_HTTP__PORT"]


def test_get_settings_with_many_mistakes_reports_all_of_them(variables: Variables) -> None:
    assert variables.problems(
        DATABASE_URL="mysql://db/x",
        ROLLCALL_DATABASE__POOL_SIZE="0",
        ROLLCALL_HTP__PORT="1",
        ROLLCALL_HTTP__PORT="65536",
        ROLLCALL_HTTP__DOCS="perhaps",
        ROLLCALL_HTTP__TRUSTED_PROXIES="10.0.0.0/8, 10.0.0.1/8, x",
        ROLLCALL_HTTP__CORS_ORIGINS="*",
        ROLLCALL_PASSWORDS__ITERATIONS="1",
        ROLLCALL_SESSIONS__IDLE_TTL="40d",
        ROLLCALL_SESSIONS__STEP_UP_TTL="2h",
        ROLLCALL_LOG__LEVEL="loud",
        ROLLCALL_TOKENS__RESET_TTL="soon",
        ROLLCALL_REGISTRATION="maybe",
        ROLLCALL_SERVICE_NAME="7",
    ) == [
        "ROLLCALL_HTP__PORT: no such setting; did you mean ROLLCALL_HTTP__PORT?",
        "ROLLCALL_REGISTRATION: must be one of closed, open",
        "ROLLCALL_SERVICE_NAME: must be 1 to 63 letters, digits, dots, dashes or underscores, a letter first",
        "DATABASE_URL: must start with postgresql://, postgres:// or postgresql+asyncpg://",
        "ROLLCALL_DATABASE__POOL_SIZE: must be a whole number from 1 to 200",
        "ROLLCALL_HTTP__PORT: must be a whole number from 1 to 65535",
        "ROLLCALL_HTTP__TRUSTED_PROXIES: must be networks such as 10.0.0.0/8 or 2001:db8::/32, "
        "comma-separated or a JSON list",
        "ROLLCALL_HTTP__CORS_ORIGINS: must be exact origins such as https://app.example.com, "
        "comma-separated or a JSON list (no *)",
        "ROLLCALL_HTTP__DOCS: must be true or false",
        "ROLLCALL_SESSIONS__STEP_UP_TTL: must be a time from 1s to 1h",
        "ROLLCALL_TOKENS__RESET_TTL: must be a time such as 300ms, 10s, 30m or 7d",
        "ROLLCALL_LOG__LEVEL: must be one of debug, info, warning, error, critical",
        "ROLLCALL_SESSIONS__IDLE_TTL: may not exceed ROLLCALL_SESSIONS__ABSOLUTE_TTL",
        "ROLLCALL_PASSWORDS__MEMORY_KIB: must meet the OWASP minimum together with "
        "ROLLCALL_PASSWORDS__ITERATIONS: at least 47104 with 1, 19456 with 2, 12288 with 3, 9216 with 4, "
        "7168 with 5",
    ]


def test_get_settings_with_a_wrong_value_does_not_report_dependent_checks(variables: Variables) -> None:
    told = variables.problems(
        ROLLCALL_PASSWORDS__MEMORY_KIB="much",
        ROLLCALL_PASSWORDS__ITERATIONS="1",
        ROLLCALL_SESSIONS__ABSOLUTE_TTL="x",
    )
    assert [problem.split(":")[0] for problem in told] == [
        "ROLLCALL_PASSWORDS__MEMORY_KIB",
        "ROLLCALL_SESSIONS__ABSOLUTE_TTL",
    ]


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("ROLLCALL_DATABASE_URL", "DATABASE_URL"),
        ("ROLLCALL_DATABASE__URL", "DATABASE_URL"),
        ("ROLLCALL_PASSWORD__MIN_LENGTH", "ROLLCALL_PASSWORDS__MIN_LENGTH"),
        ("ROLLCALL_PASSWORDS_MEMORY_KIB", "ROLLCALL_PASSWORDS__MEMORY_KIB"),
        ("ROLLCALL_SECRET_DIR", "ROLLCALL_SECRETS_DIR"),
        ("ROLLCALL_MIGRATION__DATABASE_URL", "ROLLCALL_MIGRATIONS__DATABASE_URL"),
    ],
)
def test_get_settings_with_a_misspelt_name_suggests_the_right_one(
    wrong: str, right: str, variables: Variables
) -> None:
    assert variables.problems(**{wrong: ""}) == [f"{wrong}: no such setting; did you mean {right}?"]


def test_get_settings_with_an_unknown_name_suggests_nothing(variables: Variables) -> None:
    assert variables.problems(ROLLCALL_XYZZY="1") == ["ROLLCALL_XYZZY: no such setting"]


@pytest.mark.parametrize("name", ["ROLLCALL_HTTP", "ROLLCALL_DATABASE"])
def test_get_settings_with_a_section_as_json_is_rejected(name: str, variables: Variables) -> None:
    assert variables.problems(**{name: '{"port": 9}'})[0].startswith(f"{name}: no such setting")


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ANY_PATH])
def test_get_settings_with_a_wrong_value_never_quotes_it(name: str, variables: Variables) -> None:
    (problem,) = variables.problems(**{name: f"<{SECRET}>"})
    assert problem.startswith(f"{name}: must ")
    assert SECRET not in problem


def test_settings_with_a_wrong_secret_keep_it_out_of_the_plain_error(variables: Variables) -> None:
    variables.set(DATABASE_URL=f"mysql://u:{SECRET}@db/x")
    with pytest.raises(ValidationError) as caught:
        Settings()
    with pytest.raises(ValidationError) as alone:
        DatabaseSettings.model_validate({"url": f"mysql://u:{SECRET}@db/x"})
    assert SECRET not in f"{caught.value} {caught.value!r} {alone.value} {alone.value!r}"


def test_settings_with_secrets_never_print_them(variables: Variables) -> None:
    url = f"postgresql://u:{SECRET}@db/x?sslpassword={SECRET}"
    variables.set(DATABASE_URL=url, ROLLCALL_MIGRATIONS__DATABASE_URL=url)
    settings = get_settings()
    printed = (
        f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()} {masked(settings)}"
    )
    assert SECRET not in printed
    assert settings.database.dsn == settings.migrations_dsn == url
    shown = "postgresql://u:***@db/x?sslpassword=***"
    assert settings.database.masked_dsn == masked(settings)["DATABASE_URL"] == shown


def test_masked_lists_every_variable_in_the_form_that_sets_it(variables: Variables) -> None:
    variables.set(ROLLCALL_HTTP__TRUSTED_PROXIES='["10.0.0.0/8", "::1"]', ROLLCALL_HTTP__DRAIN_DELAY="PT1M")
    shown = masked(get_settings())
    assert list(shown) == NAMES
    assert shown["ROLLCALL_HTTP__TRUSTED_PROXIES"] == "10.0.0.0/8,::1/128"
    assert shown["ROLLCALL_HTTP__DRAIN_DELAY"] == "1m"
    assert shown["DATABASE_URL"] == "embedded"
    variables.set(**shown)
    assert masked(get_settings()) == shown


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)


@effort(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), TEXT | st.integers().map(str) | st.just("[]"), max_size=4))
def test_get_settings_with_any_values_settles_or_names_the_variables(values: dict[str, str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        get_settings.cache_clear()
        for name, value in values.items():
            patch.setenv(name, value)
        assert {problem.split(":")[0] for problem in _problems_if_any()} <= set(NAMES)


def _problems_if_any() -> list[str]:
    try:
        get_settings()
    except SettingsError as error:
        return error.problems or ["nothing told"]
    return []
