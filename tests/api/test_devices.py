"""Devices that a user has logged in from: list and forget."""

from typing import Any

import pytest

from service.services import Services
from tests.support.api import Api, error_of
from tests.support.databases import fetch_values

DEVICES = "/v1/users/me/devices"
UNKNOWN = "0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e"


async def logged_in(api: Api, **more: Any) -> tuple[Api, dict[str, Any]]:
    """Log Ada in; return her client, and the device that the session was opened from."""
    made = (await api.log_in("ada", **more)).json()
    ada = api.by(made["token"])
    (device,) = [device for device in (await ada.get(DEVICES)).json()["items"] if device["current"]]
    return ada, {**device, "token": made["device_token"]}


async def is_live(api: Api) -> bool:
    return (await api.get("/v1/users/me")).status_code == 200


async def test_list_devices_shows_each_with_its_network(api: Api) -> None:
    account = await api.account()
    _, first = await logged_in(api)
    ada, second = await logged_in(api)
    await api.account("eve")
    await api.log_in("eve")
    listed = (await ada.get(DEVICES)).json()["items"]
    assert [device["id"] for device in listed] == [first["id"], second["id"]]
    assert [device["current"] for device in listed] == [False, True]
    assert {device["network"] for device in listed} == {"127.0.0.1/32"}
    assert set(listed[0]) == {"id", "network", "created_at", "last_seen_at", "current"}
    unknown = (await api.by(account).get(DEVICES)).json()["items"]
    assert [device["current"] for device in unknown] == [False, False]


async def test_list_devices_in_pages_shows_each_once(api: Api) -> None:
    await api.account()
    made = [(await logged_in(api))[1]["id"] for _ in range(3)]
    ada, last = await logged_in(api)
    first = (await ada.get(f"{DEVICES}?limit=3")).json()
    rest = (await ada.get(f"{DEVICES}?limit=3&cursor={first['next_cursor']}")).json()
    assert [device["id"] for device in first["items"] + rest["items"]] == [*made, last["id"]]


async def test_forget_device_ends_the_sessions_opened_from_it(api: Api, service: Services) -> None:
    await api.account()
    lost, device = await logged_in(api)
    lost_too, _ = await logged_in(api, device_token=device["token"])
    ada, _ = await logged_in(api)
    assert (await ada.delete(f"{DEVICES}/{device['id']}")).status_code == 204
    assert [await is_live(each) for each in (lost, lost_too, ada)] == [False, False, True]
    assert device["id"] not in str((await ada.get(DEVICES)).json())
    assert await fetch_values(service.engine, "SELECT count(*) FROM devices") == [(1,)]


async def test_forget_ones_own_device_keeps_the_session_that_does_it(api: Api) -> None:
    await api.account()
    ada, device = await logged_in(api)
    other, _ = await logged_in(api, device_token=device["token"])
    assert (await ada.delete(f"{DEVICES}/{device['id']}")).status_code == 204
    assert (await is_live(ada), await is_live(other)) == (True, False)
    assert (await ada.get(DEVICES)).json()["items"] == []


@pytest.mark.parametrize("whose", ["another", "nobody"])
async def test_forget_device_of_another_user_gets_404(api: Api, whose: str) -> None:
    """Source: OWASP ASVS 5.0 8.2.2."""
    await api.account()
    ada, device = await logged_in(api)
    eve = api.by(await api.account("eve"))
    id_ = device["id"] if whose == "another" else UNKNOWN
    assert error_of(await eve.delete(f"{DEVICES}/{id_}")) == (404, "not_found")
    assert await is_live(ada)
    assert len((await ada.get(DEVICES)).json()["items"]) == 1


async def test_log_in_with_the_token_of_a_forgotten_device_is_one_from_a_new_device(
    api: Api, service: Services
) -> None:
    await api.account()
    _, device = await logged_in(api)
    ada, _ = await logged_in(api)
    await ada.delete(f"{DEVICES}/{device['id']}")
    _, new = await logged_in(api, device_token=device["token"])
    assert new["id"] != device["id"]
    assert new["token"] != device["token"]
    assert await fetch_values(service.engine, "SELECT count(*) FROM devices") == [(2,)]
