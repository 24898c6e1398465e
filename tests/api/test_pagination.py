"""Pages: stable under change, and cursors that are good for their own listing alone."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.cursors import read_cursor, write_cursor
from service.domain.errors import InvalidCursor
from service.domain.pages import Keyset
from tests.support.api import Api, error_of
from tests.support.databases import execute

ID = UUID("0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e")
TEXTS = st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
POSITIONS = st.one_of(
    st.builds(Keyset, st.uuids(), at=st.datetimes(timezones=st.just(UTC)), text=st.none()),
    st.builds(Keyset, st.uuids(), at=st.none(), text=TEXTS),
)
ANY_TIME = st.builds(
    "{:04}-{:02}-{:02}T{:02}:{:02}:00{:+03}:00".format,
    *(st.integers(low, high) for low, high in ((0, 9999), (0, 13), (0, 32), (0, 24), (0, 60), (-24, 24))),
)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=40)
    | st.binary(max_size=20) | st.just(str(ID)) | ANY_TIME
)  # fmt: skip
MANY = """
    INSERT INTO users (id, login_id, name, created_at)
    SELECT gen_random_uuid(), 'user' || lpad(n::text, 3, '0'), 'User',
           timestamptz '2026-01-01' + (n / 3) * interval '1 s'
    FROM generate_series(1, :count) n
    """


async def walk(api: Api, path: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    while path:
        page = await api.get(path)
        assert page.status_code == 200
        items += page.json()["items"]
        cursor = page.json()["next_cursor"]
        path = page.links["next"]["url"] if "next" in page.links else ""
        assert (cursor is not None) == bool(path)
        assert cursor is None or cursor in path
    return items


@pytest.mark.parametrize("sort", ["created_at", "-created_at", "login_id"])
@pytest.mark.parametrize("limit", [1, 7, 100])
async def test_walk_the_pages_meets_every_user_once_in_order(api: Api, sort: str, limit: int) -> None:
    admin = api.by(await api.admin())
    await execute(api.service.engine, MANY, count=20)

    items = await walk(admin, f"/v1/users?limit={limit}&sort={sort}")

    field = sort.removeprefix("-")
    keys = [(item[field], item["id"]) for item in items]
    assert keys == sorted(keys, reverse=sort.startswith("-"))
    assert len({item["id"] for item in items}) == 21


@pytest.mark.parametrize("sort", ["created_at", "-created_at", "login_id"])
async def test_walk_the_pages_while_users_come_and_go_skips_none_that_stays(api: Api, sort: str) -> None:
    admin = api.by(await api.admin())
    await execute(api.service.engine, MANY, count=12)

    first = (await admin.get(f"/v1/users?limit=6&sort={sort}")).json()
    gone = [item["id"] for item in first["items"]][3:]
    await execute(
        api.service.engine, "DELETE FROM users WHERE id = any(:ids)", ids=[UUID(id_) for id_ in gone]
    )
    await admin.post("/v1/users", {"login_id": "aaa", "name": "New"})
    rest = await walk(admin, f"/v1/users?limit=6&sort={sort}&cursor={first['next_cursor']}")

    met = [item["login_id"] for item in [*first["items"], *rest]]
    assert len(met) == len(set(met))
    assert {f"user{number:03}" for number in range(1, 13)} <= set(met)


async def test_list_without_limit_gives_fifty(api: Api) -> None:
    admin = api.by(await api.admin())
    await execute(api.service.engine, MANY, count=60)

    page = await admin.get("/v1/users?role=user")

    assert len(page.json()["items"]) == 50
    assert page.headers["Link"].startswith("</v1/users?limit=50&role=user&cursor=")


async def test_cursor_elsewhere_or_altered_is_rejected(api: Api) -> None:
    admin = api.by(await api.admin())
    await execute(api.service.engine, MANY, count=5)
    cursor = (await admin.get("/v1/users?limit=1&role=user")).json()["next_cursor"]

    others = ("users?", "users?role=admin&", "users?role=user&sort=login_id&", "keys?", "events?")
    for path in (f"/v1/{other}" for other in others):
        assert error_of(await admin.get(f"{path}cursor={cursor}")) == (400, "invalid_cursor")
    for more in ("A", "A" * 2000):
        altered = await admin.get(f"/v1/users?role=user&cursor={cursor}{more}")
        assert error_of(altered) == (400, "invalid_cursor")
    assert (await admin.get(f"/v1/users?role=user&limit=100&cursor={cursor}")).status_code == 200


async def test_cursor_of_one_user_is_rejected_for_another(api: Api) -> None:
    ada, bob = await api.account("ada"), await api.account("bob")
    for login_id in ("ada", "bob"):
        await api.log_in(login_id)
    cursor = (await api.by(ada).get("/v1/users/me/sessions?limit=1")).json()["next_cursor"]

    refused = await api.by(bob).get(f"/v1/users/me/sessions?cursor={cursor}")

    assert error_of(refused) == (400, "invalid_cursor")
    assert (await api.by(ada).get(f"/v1/users/{ada.id}/sessions?cursor={cursor}")).status_code == 200


@pytest.mark.parametrize(
    "position",
    [
        Keyset(ID),
        Keyset(ID, text="a\x00"),
        Keyset(ID, at=datetime(2026, 1, 1)),  # noqa: DTZ001 - a time without a zone is the point
        Keyset(ID, at=datetime.now(UTC), text="a"),
    ],
)
@pytest.mark.parametrize("listing", ["list_users None []", "list_users None [('sort', 'login_id')]"])
async def test_cursor_forged_with_its_digest_still_does_no_harm(
    api: Api, position: Keyset, listing: str
) -> None:
    admin = api.by(await api.admin())
    sort = "&sort=login_id" if "sort" in listing else ""

    refused = await admin.get(f"/v1/users?cursor={write_cursor(position, listing)}{sort}")

    assert error_of(refused) == (400, "invalid_cursor")


@pytest.mark.parametrize("sort", ["created_at", "login_id"])
@pytest.mark.parametrize("position", [Keyset(ID, at=datetime.max.replace(tzinfo=UTC)), Keyset(ID, text="z")])
async def test_cursor_forged_for_another_sort_gives_no_error(api: Api, sort: str, position: Keyset) -> None:
    admin = api.by(await api.admin())
    listing = "list_users None []" if sort == "created_at" else "list_users None [('sort', 'login_id')]"

    answer = await admin.get(f"/v1/users?sort={sort}&cursor={write_cursor(position, listing)}")

    assert answer.status_code == 200


@given(POSITIONS, st.text())
def test_read_cursor_gives_what_was_written(position: Keyset, listing: str) -> None:
    assert read_cursor(write_cursor(position, listing), listing) == position


@given(
    st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner))
    | st.fixed_dictionaries({"id": st.just(str(ID)) | SCALARS, "at": SCALARS, "text": SCALARS})
)
def test_read_cursor_of_any_msgpack_with_its_digest_gives_a_position_or_rejects(payload: object) -> None:
    raw = msgspec.msgpack.encode(payload)
    digest = sha256(raw + b"\0listing").digest()[:12]
    cursor = urlsafe_b64encode(raw + digest).decode().rstrip("=")

    try:
        position = read_cursor(cursor, "listing")
    except InvalidCursor:
        return
    assert write_cursor(position, "listing") == cursor


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
async def test_cursor_with_a_time_that_utc_lacks_is_rejected(api: Api, at: str) -> None:
    admin = api.by(await api.admin())
    payload = msgspec.msgpack.encode({"id": str(ID), "at": at, "text": None})
    digest = sha256(payload + b"\0list_users None []").digest()[:12]

    cursor = urlsafe_b64encode(payload + digest).decode().rstrip("=")

    assert error_of(await admin.get(f"/v1/users?cursor={cursor}")) == (400, "invalid_cursor")


@given(POSITIONS, st.data())
def test_read_cursor_after_any_flipped_bit_rejects(position: Keyset, data: st.DataObject) -> None:
    cursor = write_cursor(position, "listing") or ""
    raw = bytearray(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8

    with pytest.raises(InvalidCursor):
        read_cursor(urlsafe_b64encode(bytes(raw)).decode().rstrip("="), "listing")


@given(st.text())
def test_read_cursor_of_anything_else_rejects(cursor: str) -> None:
    with pytest.raises(InvalidCursor):
        read_cursor(cursor, "listing")


@pytest.mark.parametrize("ending", ["=", "==", " ", "\n", "%", "A"])
def test_read_cursor_in_another_spelling_rejects(ending: str) -> None:
    cursor = write_cursor(Keyset(ID, text="a"), "listing") or ""

    with pytest.raises(InvalidCursor):
        read_cursor(cursor + ending, "listing")
