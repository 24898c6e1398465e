"""Searching, and the strict reading of query strings."""

from uuid import UUID

import pytest
import pytest_asyncio

from service.domain.keys import Scope
from service.domain.users import UserRole, UserState
from tests.support.api import Account, Api, error_of, faults_of

SOMEBODY = "0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e"


@pytest_asyncio.fixture
async def people(api: Api) -> dict[str, Account]:
    return {
        "ada": await api.account("ada@example.org", name="Countess \u00c9lan"),
        "grace": await api.account("grace", name="Adam_Hopper"),
        "off": await api.account("off", name="100% off", state=UserState.DISABLED),
        "root": await api.account("root", name="R\u00f6\u00f6t", role=UserRole.ADMIN),
    }


async def found(api: Api, people: dict[str, Account], **params: str) -> set[str]:
    reader = api.by(await api.key(Scope.USERS_READ))
    answer = await reader.get("/v1/users", params=params)
    assert answer.status_code == 200
    names = {str(account.id): name for name, account in people.items()}
    return {names[item["id"]] for item in answer.json()["items"]}


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("ada", {"ada", "grace"}),
        ("ADA", {"ada", "grace"}),
        ("adam_", {"grace"}),
        ("adam-", set()),
        ("countess e\u0301", {"ada"}),
        ("COUNTESS \u00c9", {"ada"}),
        ("r\u00f6", {"root"}),
        ("100%", {"off"}),
        ("%", set()),
        ("_", set()),
        ("hopper", set()),
        ("\U0010ffff", set()),
        ("\\", set()),
        ("null", set()),
    ],
)
async def test_search_by_prefix_finds_login_ids_and_names_in_any_case(
    api: Api, people: dict[str, Account], prefix: str, expected: set[str]
) -> None:
    assert await found(api, people, q=prefix) == expected


async def test_search_by_several_filters_finds_what_meets_all(api: Api, people: dict[str, Account]) -> None:
    page = await api.by(people["root"]).get("/v1/users?limit=1&sort=-created_at")
    latest = page.json()["items"][0]["created_at"]

    assert await found(api, people, login_id="GRACE") == {"grace"}
    assert await found(api, people, login_id="grac") == set()
    assert await found(api, people, state="disabled") == {"off"}
    assert await found(api, people, role="admin") == {"root"}
    assert await found(api, people, role="admin", state="disabled") == set()
    assert await found(api, people, q="a", role="user", state="active") == {"ada", "grace"}
    assert await found(api, people, created_before=latest) == {"ada", "grace", "off"}
    assert await found(api, people, created_after=latest) == set()
    assert await found(api, people, created_after="2026-01-01T00:00:00+02:00", q="roo") == {"root"}


@pytest.mark.parametrize("zero", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000+00:00"])
async def test_list_users_created_after_the_zero_time_of_go_returns_all(
    api: Api, people: dict[str, Account], zero: str
) -> None:
    assert await found(api, people, created_after=zero) == set(people)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=-1",
        "limit=101",
        "limit=18446744073709551616",
        "limit=1e1",
        "limit=1.0",
        "limit=1_0",
        "limit=%201",
        "limit=%2B1",
        "limit=01",
        "limit=%D9%A1",
        "limit=NaN",
        "limit=",
        "limit=null",
        "limit=true",
        "q=",
        f"q={'a' * 201}",
        "login_id=",
        "login_id=%20ada",
        "login_id=me",
        "state=Active",
        "state=null",
        "role=root",
        "sort=name",
        "sort=created_at,login_id",
        "created_after=1700000000",
        "created_after=2026-01-01",
        "created_after=2026-01-01T00:00:00",
        "created_after=2026-13-01T00:00:00Z",
        "created_after=0001-01-01T00:00:00%2B14:00",
        "created_before=9999-12-31T23:59:59-14:00",
        "created_before=infinity",
        "created_before=null",
    ],
)
async def test_list_with_a_bad_value_names_the_parameter(api: Api, query: str) -> None:
    admin = api.by(await api.admin())

    refused = await admin.get(f"/v1/users?{query}")

    assert [pointer for pointer, _ in faults_of(refused)] == [f"?{query.partition('=')[0]}"]


async def test_list_with_several_bad_values_names_each(api: Api) -> None:
    admin = api.by(await api.admin())

    refused = await admin.get("/v1/users?limit=0&state=x&q=ada&role=user")

    assert {pointer for pointer, _ in faults_of(refused)} == {"?limit", "?state"}


@pytest.mark.parametrize(
    "query",
    [
        "limit=1&limit=1",
        "limit=1&limit=2",
        "Limit=1",
        "unknown=1",
        "limit",
        "=1",
        "&",
        "limit=1&",
        "limit=1&&q=a",
        "limit[]=1",
        "q=%zz",
        "q=%",
        "q=%FF",
        "q=%ED%A0%80",
        "q=%C0%80",
        "q=a%00",
        "access_token=rcs_x",
    ],
)
async def test_list_with_an_unreadable_or_unknown_query_is_rejected(api: Api, query: str) -> None:
    admin = api.by(await api.admin())

    refused = await admin.get(f"/v1/users?{query}")

    assert error_of(refused) == (400, "malformed_request")


def ids_query(*ids: object) -> str:
    return "&".join(f"id={user_id}" for user_id in ids)


async def test_list_by_ids_returns_those_there_are_in_that_order_on_one_page(
    api: Api, people: dict[str, Account]
) -> None:
    reader = api.by(await api.key(Scope.USERS_READ))
    ids = [people[name].id for name in ("root", "off", "ada")]
    unknown = [UUID(int=(7 << 76) + (2 << 62) + n) for n in range(96)]

    answer = await reader.get(f"/v1/users?{ids_query(*ids, *unknown, ids[0])}&limit=1&sort=created_at")

    assert [item["id"] for item in answer.json()["items"]] == [str(user_id) for user_id in ids]
    assert answer.json()["next_cursor"] is None
    assert "Link" not in answer.headers
    assert answer.json()["items"][1] == (await reader.get(f"/v1/users/{ids[1]}")).json()


@pytest.mark.parametrize(
    "query",
    [
        "id=",
        "id=me",
        "id=0198C5A4-7D1E-7C3B-9F60-2B1F3A5C7D9E",
        "id=0198c5a47d1e7c3b9f602b1f3a5c7d9e",
        f"id={SOMEBODY}%0A",
        f"id={SOMEBODY},{SOMEBODY}",
        f"id={SOMEBODY}&id=x",
        f"id={SOMEBODY}&q=ada",
        f"id={SOMEBODY}&state=active",
        f"id={SOMEBODY}&sort=login_id",
        f"id={SOMEBODY}&cursor=x",
        f"id={SOMEBODY}&created_after=2026-01-01T00:00:00Z",
        "&".join([f"id={SOMEBODY}"] * 101),
    ],
)
async def test_list_by_ids_misspelt_too_many_or_with_a_filter_is_rejected(api: Api, query: str) -> None:
    reader = api.by(await api.key(Scope.USERS_READ))

    refused = await reader.get(f"/v1/users?{query}")

    assert [pointer for pointer, _ in faults_of(refused)] == ["?id"]


async def test_list_by_hundreds_of_ids_is_rejected_unread(api: Api) -> None:
    reader = api.by(await api.key(Scope.USERS_READ))

    refused = await reader.get(f"/v1/users?{ids_query(*[1] * 129)}")

    assert error_of(refused) == (400, "malformed_request")


@pytest.mark.parametrize("path", ["/v1/users/me", "/v1/sessions/current", "/health/live", "/metrics"])
async def test_read_without_query_takes_none(api: Api, path: str) -> None:
    admin = api.by(await api.admin())

    assert error_of(await admin.get(f"{path}?limit=1")) == (400, "malformed_request")
    assert (await admin.get(path)).status_code == 200
