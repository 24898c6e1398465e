"""The audit trail over HTTP."""

from service.domain.events import Action
from service.domain.keys import Scope
from tests.support.api import PASSWORD, Api, error_of
from tests.support.databases import execute

FOREIGN_ID = "01890a5d-ac96-774b-bcce-b302099a8057"


async def test_list_events_shows_who_did_what_in_ids_only(api: Api) -> None:
    root = await api.admin()
    admin = api.by(root)
    created = await admin.post(
        "/v1/users",
        {"login_id": "grace", "name": "Hopper", "password": PASSWORD},
        headers={"X-Request-Id": FOREIGN_ID},
    )
    await api.log_in("grace")
    await api.log_in("grace", "wrong" * 5)

    listed = await admin.get("/v1/events")
    actions = [event["action"] for event in listed.json()["items"]]
    first = listed.json()["items"][-1]
    assert len(set(actions)) == 3
    assert first["action"] == Action.USER_CREATED
    assert first["actor_id"] == str(root.id)
    assert first["actor_kind"] == "user"
    assert first["subject_id"] == created.json()["id"]
    assert first["request_id"] == created.headers["X-Request-Id"] != FOREIGN_ID
    assert first["ip"] == "127.0.0.1"
    assert not any(word in listed.text for word in ("grace", "Hopper", PASSWORD, "rcs_"))


async def test_list_events_of_a_newer_release_shows_them_as_they_are_stored(api: Api) -> None:
    """While two releases serve side by side, the older one reads what the newer one records."""
    await execute(
        api.service.engine,
        "INSERT INTO events (id, actor_kind, action) VALUES (gen_random_uuid(), 'robot', 'user.renamed')",
    )

    api.client.event_hooks = {"response": []}  # the contract lists the actions of this release

    listed = await api.by(await api.key(Scope.EVENTS_READ)).get("/v1/events")

    assert listed.status_code == 200
    assert [(event["actor_kind"], event["action"]) for event in listed.json()["items"]] == [
        ("robot", "user.renamed")
    ]


async def test_list_events_shows_the_newest_first_page_by_page(api: Api) -> None:
    admin = api.by(await api.admin())
    for number in range(5):
        await admin.post("/v1/users", {"login_id": f"u{number}", "name": "U"})

    times, path = [], "/v1/events?limit=2"
    while path:
        page = await admin.get(path)
        times += [event["at"] for event in page.json()["items"]]
        path = page.links.get("next", {}).get("url", "")

    assert len(times) == 5
    assert times == sorted(times, reverse=True)


async def test_list_events_without_role_or_scope_is_rejected(api: Api) -> None:
    others = [scope for scope in Scope if scope is not Scope.EVENTS_READ]
    for caller in ((await api.account("ada")).token, await api.key(*others)):
        assert error_of(await api.by(caller).get("/v1/events")) == (403, "forbidden")
