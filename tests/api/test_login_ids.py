"""Login ids and names over HTTP: created, found and logged in with, in any spelling of the same."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from service.domain.users import LoginIdCharset
from tests.support.api import PASSWORD, Api, error_of, faults_of, serving
from tests.support.settings import settings_for_tests

PEOPLE = [
    "o'brien",
    "+819012345678",
    "corp\\ada",
    "100%",
    "a_b%c",
    "_ada_",
    "ada.",
    "ada!",
    "a&b=c/d?e#f",
    "a+b@x.example",
]


async def create(admin: Api, login_id: str) -> tuple[int, str]:
    created = await admin.post("/v1/users", {"login_id": login_id, "name": "Ada", "password": PASSWORD})
    return created.status_code, created.json().get("login_id", created.text)


@pytest_asyncio.fixture
async def unicode_api(database: str) -> AsyncIterator[Api]:
    async with (
        serving(settings_for_tests(login_ids="unicode"), database) as running,
        running.client() as client,
    ):
        yield Api(client, running.service)


@pytest.mark.parametrize("login_id", PEOPLE)
async def test_create_user_with_a_sign_in_the_login_id_finds_it_and_logs_in(api: Api, login_id: str) -> None:
    admin = api.by(await api.admin())
    await api.account("a-bc", name="Bob")
    assert await create(admin, login_id.upper()) == (201, login_id)

    by_id = (await admin.get("/v1/users", params={"login_id": login_id})).json()["items"]
    by_prefix = (await admin.get("/v1/users", params={"q": login_id[:3], "limit": "1"})).json()["items"]

    assert [user["login_id"] for user in by_id] == [user["login_id"] for user in by_prefix] == [login_id]
    assert (await api.log_in(login_id)).status_code == 201


async def test_list_users_by_prefix_takes_signs_literally(api: Api) -> None:
    admin = api.by(await api.admin())
    for login_id in ("a%b", "a_b", "a\\b", "axb", "a'b", "a!b"):
        assert (await create(admin, login_id))[0] == 201

    for prefix in ("a%", "a_", "a\\", "a'", "a!"):
        found = (await admin.get("/v1/users", params={"q": prefix})).json()["items"]
        assert [user["login_id"] for user in found] == [prefix + "b"]


async def test_list_users_by_login_id_follows_pages_of_signs(api: Api) -> None:
    admin = api.by(await api.admin())
    for login_id in PEOPLE:
        assert (await create(admin, login_id))[0] == 201

    found, cursor = [], None
    while True:
        params = {"sort": "login_id", "limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await admin.get("/v1/users", params=params)).json()
        found += [user["login_id"] for user in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break

    assert found == sorted(found)
    assert set(PEOPLE) < set(found)


@pytest.mark.parametrize("login_id", ["ada lovelace", "müller", 'a"b', "'ada", "ada@xn--zz", "\u212aelvin"])
async def test_create_user_with_a_bad_login_id_names_the_rule(api: Api, login_id: str) -> None:
    admin = api.by(await api.admin())

    refused = await admin.post("/v1/users", {"login_id": login_id, "name": "Ada", "password": PASSWORD})

    assert refused.status_code == 422
    (fault,) = refused.json()["errors"]
    assert (fault["pointer"], fault["code"]) == ("/login_id", "invalid_value")
    assert fault["detail"] == LoginIdCharset.ASCII.rule
    assert faults_of(await admin.get("/v1/users", params={"login_id": login_id})) == [
        ("?login_id", "invalid_value")
    ]


async def test_create_user_with_an_internationalized_domain_keeps_a_labels(api: Api) -> None:
    admin = api.by(await api.admin())
    assert await create(admin, "Ada@例え.jp") == (201, "ada@xn--r8jz45g.jp")
    assert (await create(admin, "ada@XN--R8JZ45G.jp"))[0] == 409
    assert (await api.log_in("ada@例え.jp")).status_code == 201
    assert (await api.log_in("ada@xn--r8jz45g.jp")).status_code == 201


async def test_create_user_in_unicode_keeps_one_form_of_all_spellings(unicode_api: Api) -> None:
    api, admin = unicode_api, unicode_api.by(await unicode_api.admin())

    assert await create(admin, "MU\u0308LLER@例え.jp") == (201, "müller@xn--r8jz45g.jp")
    assert (await create(admin, "müller@例え.jp"))[0] == 409
    for spelling in ("müller@例え.jp", "Müller@例え.jp", "ｍüller@xn--r8jz45g.jp"):
        assert (await api.log_in(spelling)).status_code == 201
        found = (await admin.get("/v1/users", params={"login_id": spelling})).json()["items"]
        assert [user["login_id"] for user in found] == ["müller@xn--r8jz45g.jp"]
    assert error_of(await api.log_in("muller@例え.jp")) == (401, "invalid_credentials")
    assert await create(admin, "Пользователь") == (201, "пользователь")
    assert (await create(admin, "ada😀"))[0] == 422


async def test_update_user_in_unicode_stores_the_longest_login_id(unicode_api: Api) -> None:
    admin, account = unicode_api.by(await unicode_api.admin()), await unicode_api.account("ada")
    longest = "\U00020000" * 254

    changed = await admin.patch(f"/v1/users/{account.id}", {"login_id": longest})

    assert changed.status_code == 200, changed.text
    assert changed.json()["login_id"] == longest


@pytest.mark.parametrize(
    "name", ["O'Brien", "Ada \U0001fa77", "山田\u3000太郎", "\U0001f469\u200d\U0001f4bb"]
)
async def test_create_user_with_a_visible_name_keeps_it(api: Api, name: str) -> None:
    admin = api.by(await api.admin())
    created = await admin.post("/v1/users", {"login_id": "ada", "name": name})
    assert (created.status_code, created.json().get("name")) == (201, name)


@pytest.mark.parametrize(
    "name", [" ", "\u200b", "\u3164", "\u2800", "A\u2028B", "A\ufeff", "A\ue000", "A\u202eB"]
)
async def test_create_user_with_an_invisible_or_deceptive_name_names_the_rule(api: Api, name: str) -> None:
    admin = api.by(await api.admin())

    refused = await admin.post("/v1/users", {"login_id": "ada", "name": name})

    assert faults_of(refused) == [("/name", "invalid_value")]
    assert "one of them visible" in refused.text
