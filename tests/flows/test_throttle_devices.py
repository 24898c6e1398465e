"""Known and unknown devices at the login throttle."""

import pytest

from service.services import Services
from tests.flows.conftest import At
from tests.flows.throttling import (
    ABROAD,
    HOME,
    SETTINGS,
    assert_throttled,
    bucket_counts,
    guess,
)
from tests.support.api import OTHER_PASSWORD, PASSWORD, Api, running_with
from tests.support.databases import fetch_values

pytestmark = pytest.mark.usefixtures("_many_processes")

running = running_with(SETTINGS)


async def test_failures_from_unknown_devices_do_not_lock_out_the_owner(
    api: Api, service: Services, at: At
) -> None:
    """Source: OWASP ASVS 5.0 6.1.1."""
    await api.account("ada")
    known = (await at(HOME).log_in("ada")).json()
    await guess(at(ABROAD), count=5)
    assert_throttled(await at(ABROAD).log_in("ada"))
    session = at(ABROAD).by(known["token"])
    assert (await session.get("/v1/users/me")).status_code == 200
    assert (await at(HOME).log_in("ada")).status_code == 201, "a network that logged in before"
    travelling = await at("192.0.2.1").log_in("ada", device_token=known["device_token"])
    assert travelling.status_code == 201, "a device that logged in before"
    change = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
    assert (await session.put("/v1/users/me/password", change)).status_code == 204


async def test_login_from_known_device_has_its_own_throttle(api: Api, service: Services, at: At) -> None:
    await api.account("ada")
    device = (await at(HOME).log_in("ada")).json()["device_token"]
    assert await guess(at(ABROAD), count=6, device_token=device) == [401] * 5 + [429]
    assert (await at(HOME).log_in("ada")).status_code == 201


async def test_login_with_device_token_of_another_user_counts_as_unknown_device(
    api: Api, service: Services, at: At
) -> None:
    await api.account("ada")
    await api.account("mallory")
    device = (await at(ABROAD).log_in("mallory")).json()["device_token"]
    assert await guess(at(ABROAD), count=3, device_token=device) == [401] * 3
    assert await guess(at("192.0.2.1"), count=3) == [401, 401, 429]


async def test_login_clears_only_its_own_bucket(api: Api, service: Services, at: At) -> None:
    """Source: the notice of allauth 65.8: a success cleared the network's failures."""
    await api.account("ada")
    device = (await at(HOME).log_in("ada")).json()["device_token"]
    await guess(at(ABROAD), count=4)
    await guess(at(ABROAD), count=3, device_token=device)
    assert (await at(ABROAD).log_in("ada", device_token=device)).status_code == 201
    assert await bucket_counts(service) == [(4,)]
    in_network = "SELECT minute_failures FROM network_buckets WHERE network = :network"
    assert await fetch_values(service.engine, in_network, network=f"{ABROAD}/32") == [(7,)]
    assert (await at("192.0.2.1").log_in("ada")).status_code == 201
    assert await bucket_counts(service) == [(4,)], (
        "a success from an unknown device is no failure, and no more"
    )
