"""Every error is a problem document; the log has the places of a failure and not its message."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import httpx
import pytest
from litestar import Litestar, get
from litestar.exceptions import (
    ClientException,
    HTTPException,
    ImproperlyConfiguredException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)
from litestar.params import FromQuery
from structlog.testing import capture_logs

from service.api.http.errors import BodyTooLarge, MalformedRequest, MethodNotAllowed, UnsupportedMediaType
from service.api.http.problems import (
    MEDIA_TYPE,
    exception_handlers,
    problem_body,
    problem_headers,
    status_of,
    to_error,
)
from service.domain.errors import (
    DatabaseUnavailable,
    ErrorKind,
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
from tools.problems_page import all_errors, problems_markdown

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


def test_status_of_every_error_is_an_error_status() -> None:
    assert all(400 <= status_of(error) < 600 for error in all_errors())
    assert {error.kind for error in all_errors()} == set(ErrorKind)


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


def test_all_errors_have_unique_codes_and_texts() -> None:
    errors = all_errors()

    assert len({error.code for error in errors}) == len(errors) > 20
    assert {MalformedRequest, NotFound} < set(errors), "of the domain and of the transport"
    assert all(error.title and error().detail for error in errors)


def test_problem_headers_of_401_challenge_with_an_error_only_after_a_token() -> None:
    assert problem_headers(InvalidToken()) == [(b"www-authenticate", b'Bearer error="invalid_token"')]
    assert problem_headers(Unauthenticated()) == [(b"www-authenticate", b"Bearer")]
    assert problem_headers(InvalidCredentials()) == [(b"www-authenticate", b"Bearer")]
    assert problem_headers(Forbidden()) == []


def test_problem_headers_with_a_wait_give_whole_seconds() -> None:
    assert problem_headers(LoginThrottled(retry_after=900)) == [(b"retry-after", b"900")]
    assert problem_headers(DatabaseUnavailable()) == [(b"retry-after", b"1")]


def test_problem_headers_with_allow_pass_it_on() -> None:
    assert problem_headers(MethodNotAllowed(), allow="GET, POST") == [(b"allow", b"GET, POST")]


@pytest.mark.parametrize(
    ("exception", "error"),
    [
        (NotFound(SECRET), NotFound),
        (NotFoundException(SECRET), NotFound),
        (MethodNotAllowedException(SECRET), MethodNotAllowed),
        (ValidationException(SECRET), MalformedRequest),
        (ClientException(SECRET), MalformedRequest),
        (HTTPException(SECRET, status_code=413), BodyTooLarge),
        (HTTPException(SECRET, status_code=415), UnsupportedMediaType),
        (HTTPException(SECRET, status_code=418), MalformedRequest),
        (HTTPException(SECRET, status_code=502), InternalError),
        (ImproperlyConfiguredException(SECRET), InternalError),
        (ClientDisconnected(), MalformedRequest),
        (KeyError(SECRET), InternalError),
    ],
)
def test_to_error_of_an_exception_returns_its_error(exception: Exception, error: type[RollcallError]) -> None:
    assert type(to_error(exception)) is error


def test_to_error_of_a_framework_error_drops_its_message() -> None:
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


def test_describe_of_a_circle_of_causes_ends() -> None:
    one, other = ValueError(), KeyError()
    one.__cause__, other.__cause__ = other, one

    assert len(describe(one)["trace"]) == 2


@get("/failing")
async def fail() -> None:
    raise KeyError(SECRET)


@get("/refusing")
async def refuse() -> None:
    raise LoginThrottled(retry_after=7)


@get("/counting")
async def count(number: FromQuery[int]) -> int:
    return number


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = Litestar([fail, refuse, count], exception_handlers=exception_handlers, openapi_config=None)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(cast("Any", app)), base_url="http://rollcall.test"
    ) as opened:
        yield opened


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with capture_logs() as entries:
        yield entries


def problem_in(response: httpx.Response) -> dict[str, Any]:
    problem: dict[str, Any] = response.json()
    assert response.headers["content-type"] == MEDIA_TYPE
    assert problem["status"] == response.status_code
    assert UUID(problem["instance"].removeprefix("urn:uuid:"))
    assert SECRET not in response.text
    return problem


async def test_handlers_with_an_unexpected_exception_answer_500_and_log_it_once(
    client: httpx.AsyncClient, logs: list[Any]
) -> None:
    problem = problem_in(await client.get("/failing"))

    assert problem["code"] == "internal_error"
    (entry,) = logs
    assert (entry["event"], entry["log_level"]) == ("request_failed", "error")
    assert entry["request_id"] == problem["instance"].removeprefix("urn:uuid:")
    assert SECRET not in repr(entry)


async def test_handlers_with_a_refusal_answer_it_and_log_nothing(
    client: httpx.AsyncClient, logs: list[Any]
) -> None:
    response = await client.get("/refusing")

    assert problem_in(response)["code"] == "login_throttled"
    assert response.headers["retry-after"] == "7"
    assert logs == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"/{SECRET}", 404),
        ("GET", f"/counting?number={SECRET}", 400),
        ("DELETE", "/counting", 405),
    ],
)
async def test_handlers_with_a_framework_error_answer_a_problem(
    client: httpx.AsyncClient, logs: list[Any], method: str, path: str, status: int
) -> None:
    response = await client.request(method, path)

    assert problem_in(response)["status"] == status
    assert logs == []


async def test_handlers_with_a_wrong_method_keep_allow(client: httpx.AsyncClient) -> None:
    response = await client.delete("/counting")

    assert set(response.headers["allow"].split(", ")) == {"GET", "OPTIONS"}


def test_problems_document_is_current() -> None:
    assert (ROOT / "docs" / "problems.md").read_text() == problems_markdown()


def test_problems_markdown_has_a_row_for_each_error() -> None:
    rows = [line for line in problems_markdown().splitlines() if line.startswith("| `")]

    for error in all_errors():
        (row,) = [row for row in rows if row.startswith(f"| `{error.code}` |")]
        assert [cell.strip() for cell in row.split("|")][2:4] == [str(status_of(error)), error.title]
        assert row.count("|") == 6
