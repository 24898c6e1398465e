"""Every refusal is a problem document; the log says where a failure came from and not what it said."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar.exceptions import (
    HTTPException,
    ImproperlyConfiguredException,
    ValidationException,
)
from structlog.testing import capture_logs

from service.api.http.errors import BodyTooLarge, MalformedRequest, MethodNotAllowed, UnsupportedMediaType
from service.api.http.problems import (
    MEDIA_TYPE,
    error_response,
    problem_body,
    problem_headers,
    problem_response,
    status_of,
    to_error,
)
from service.api.openapi.problems_page import all_errors, problems_markdown
from service.domain.errors import (
    DatabaseUnavailable,
    FieldError,
    Forbidden,
    InternalError,
    InvalidCredentials,
    InvalidToken,
    LoginThrottled,
    NotFound,
    RollcallError,
    Unauthenticated,
    ValidationFailed,
)
from service.observability.exception_report import ClientDisconnected, describe

REQUEST_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
SECRET = "hunter2-hunter2"
ROOT = Path(__file__).parents[2]


class DriverError(Exception):
    sqlstate = "23514"
    constraint_name = "users_name_check"
    table_name = "users"


class WrappedError(Exception):
    def __init__(self, orig: Exception) -> None:
        super().__init__(str(orig))
        self.orig = orig


def raised(error: Exception, cause: Exception | None = None) -> Exception:
    with pytest.raises(type(error)) as caught:
        raise error from cause
    return caught.value


@pytest.mark.parametrize("error", all_errors())
def test_status_of_each_error_gives_an_error_status(error: type[RollcallError]) -> None:
    assert 400 <= status_of(error) < 600


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MalformedRequest, 400),
        (InvalidToken, 401),
        (Forbidden, 403),
        (NotFound, 404),
        (MethodNotAllowed, 405),
        (BodyTooLarge, 413),
        (UnsupportedMediaType, 415),
        (ValidationFailed, 422),
        (LoginThrottled, 429),
        (InternalError, 500),
        (DatabaseUnavailable, 503),
    ],
)
def test_problem_body_of_an_error_has_its_members(error: type[RollcallError], status: int) -> None:
    assert json.loads(problem_body(error(), REQUEST_ID)) | {"errors": []} == {
        "type": f"urn:rollcall:problem:{error.code}",
        "title": error.title,
        "status": status,
        "detail": error.detail,
        "instance": f"urn:uuid:{REQUEST_ID}",
        "code": error.code,
        "errors": [],
    }


def test_problem_body_of_failed_validation_lists_the_errors() -> None:
    body = json.loads(problem_body(ValidationFailed(FieldError("/a", "too_long", "Too long.")), REQUEST_ID))

    assert body["errors"] == [{"pointer": "/a", "code": "too_long", "detail": "Too long."}]
    assert "errors" not in json.loads(problem_body(NotFound(), REQUEST_ID))


def test_all_errors_have_unique_codes_and_what_a_document_needs() -> None:
    errors = all_errors()

    assert len({error.code for error in errors}) == len(errors) > 20
    assert all(error.title and error.detail and error.__doc__ for error in errors)


def test_problem_headers_of_401_challenge_with_an_error_only_after_a_token() -> None:
    assert problem_headers(InvalidToken()) == ((b"www-authenticate", b'Bearer error="invalid_token"'),)
    assert problem_headers(Unauthenticated()) == ((b"www-authenticate", b"Bearer"),)
    assert problem_headers(InvalidCredentials()) == ((b"www-authenticate", b"Bearer"),)
    assert problem_headers(Forbidden()) == ()


def test_problem_headers_with_a_wait_give_whole_seconds() -> None:
    assert problem_headers(LoginThrottled(retry_after=900)) == ((b"retry-after", b"900"),)
    assert problem_headers(DatabaseUnavailable()) == ((b"retry-after", b"1"),)


def test_problem_response_has_further_header_fields_last() -> None:
    response = problem_response(MethodNotAllowed(), REQUEST_ID, ((b"allow", b"GET, POST"),))

    assert (response.status, response.headers) == (405, ((b"allow", b"GET, POST"),))


@pytest.mark.parametrize(
    ("exception", "error"),
    [
        (NotFound(SECRET), NotFound),
        (HTTPException(SECRET, status_code=404), InternalError),
        (ImproperlyConfiguredException(SECRET), InternalError),
        (ClientDisconnected(), MalformedRequest),
        (KeyError(SECRET), InternalError),
    ],
)
def test_to_error_of_an_exception_gives_its_error(exception: Exception, error: type[RollcallError]) -> None:
    assert type(to_error(exception)) is error


def test_to_error_of_unexpected_exception_drops_its_message() -> None:
    assert SECRET not in to_error(ValidationException(SECRET)).detail


def test_describe_names_types_and_places_without_messages() -> None:
    facts = describe(raised(KeyError(SECRET), cause=raised(ValueError(SECRET))))

    assert facts["error"] == "builtins.KeyError"
    assert [link["error"] for link in facts["trace"]] == ["builtins.KeyError", "builtins.ValueError"]
    assert all("test_problems.py:" in link["at"][-1] for link in facts["trace"])
    assert SECRET not in repr(facts)


def test_describe_of_a_database_error_names_state_constraint_and_table() -> None:
    facts = describe(raised(WrappedError(raised(DriverError(f"Failing row contains ({SECRET})")))))

    assert (facts["sqlstate"], facts["constraint"], facts["table"]) == ("23514", "users_name_check", "users")
    assert SECRET not in repr(facts)


def test_describe_of_a_group_names_its_members() -> None:
    facts = describe(raised(ExceptionGroup(SECRET, [raised(OSError(SECRET))])))

    assert [link["error"] for link in facts["trace"]] == ["builtins.ExceptionGroup", "builtins.OSError"]
    assert SECRET not in repr(facts)


def test_describe_of_a_reference_cycle_of_causes_ends() -> None:
    one, other = ValueError(), KeyError()
    one.__cause__, other.__cause__ = other, one

    assert len(describe(one)["trace"]) == 2


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with capture_logs() as entries:
        yield entries


def test_error_response_of_unexpected_exception_is_500_and_logged_once(logs: list[Any]) -> None:
    response = error_response(KeyError(SECRET), REQUEST_ID)

    assert (response.status, response.media_type) == (500, MEDIA_TYPE)
    assert json.loads(response.body or b"")["code"] == "internal_error"
    (entry,) = logs
    assert (entry["event"], entry["log_level"]) == ("request_failed", "error")
    assert entry["request_id"] == REQUEST_ID
    assert SECRET not in repr(entry) + repr(response)


def test_error_response_of_expected_error_is_not_logged(logs: list[Any]) -> None:
    response = error_response(LoginThrottled(retry_after=7), REQUEST_ID)

    assert (response.status, response.headers) == (429, ((b"retry-after", b"7"),))
    assert json.loads(response.body or b"")["code"] == "login_throttled"
    assert logs == []


def test_problems_document_is_what_the_classes_say() -> None:
    assert (ROOT / "docs" / "problems.md").read_text() == problems_markdown()


def test_problems_markdown_has_a_row_for_each_error() -> None:
    rows = [line for line in problems_markdown().splitlines() if line.startswith("| `")]

    for error in all_errors():
        (row,) = [row for row in rows if row.startswith(f"| `{error.code}` |")]
        assert [cell.strip() for cell in row.split("|")][2:4] == [str(status_of(error)), error.title]
        assert row.count("|") == 6
