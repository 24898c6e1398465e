"""A user from creation to deletion, over HTTP."""

from tests.support.api import OTHER_PASSWORD, PASSWORD, Api


async def test_user_lifecycle_responds_as_documented(api: Api) -> None:
    admin = api.by(await api.admin())
    created = await admin.post(
        "/v1/users", {"login_id": "Ada", "name": "Ada", "password": PASSWORD, "must_change": False}
    )
    assert created.status_code == 201
    user = created.json()
    assert user["login_id"] == "ada"
    assert created.headers["Location"] == f"/v1/users/{user['id']}"

    logged_in = await api.log_in("ADA")
    assert logged_in.status_code == 201
    ada = api.by(logged_in.json()["token"])
    assert (await ada.get("/v1/sessions/current")).json()["user"]["id"] == user["id"]

    renamed = await ada.patch("/v1/users/me", {"name": "Ada Lovelace"})
    assert renamed.json()["name"] == "Ada Lovelace"
    assert renamed.json()["updated_at"] > user["updated_at"]

    changed = await ada.put(
        "/v1/users/me/password", {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
    )
    assert changed.status_code == 204
    assert (await api.log_in("ada")).status_code == 401
    assert (await api.log_in("ada", OTHER_PASSWORD)).status_code == 201

    listed = await admin.get("/v1/users", params={"q": "ad"})
    assert [item["login_id"] for item in listed.json()["items"]] == ["ada"]

    assert (await ada.delete("/v1/sessions/current")).status_code == 204
    assert (await ada.get("/v1/users/me")).status_code == 401
    assert (await admin.delete(f"/v1/users/{user['id']}")).status_code == 204
    assert (await api.log_in("ada", OTHER_PASSWORD)).status_code == 401
