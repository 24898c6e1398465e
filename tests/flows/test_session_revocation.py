"""What ends sessions, at the next request and for good."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from service.domain.keys import Scope
from service.domain.users import UserRole
from service.services import Services
from settings import Settings
from tests.flows.sessions import status
from tests.support.api import OTHER_PASSWORD, PASSWORD, Account, Api, RunningService, serving


@pytest.mark.parametrize(("role", "other"), [(UserRole.USER, "admin"), (UserRole.ADMIN, "user")])
async def test_change_role_ends_the_sessions_of_the_user(api: Api, role: UserRole, other: str) -> None:
    """A token that was stolen before a promotion must not gain by it. Source: OWASP ASVS 5.0 7.2.4."""
    admin, ada = api.by(await api.admin()), await api.account("ada", role=role)
    second = (await api.log_in("ada")).json()["token"]
    assert (await admin.patch(f"/v1/users/{ada.id}", {"role": role.value})).status_code == 200
    assert (await status(api, ada), await status(api, second)) == (200, 200)
    assert (await admin.patch(f"/v1/users/{ada.id}", {"role": other})).status_code == 200
    assert (await status(api, ada), await status(api, second)) == (401, 401)


@pytest_asyncio.fixture
async def replica(
    test_settings: Settings, shared_database: str, service: Services
) -> AsyncIterator[RunningService]:
    """A second instance of the application on the same database."""
    async with serving(test_settings, shared_database) as second:
        yield second


async def revoke(api: Api, ada: Account, way: str) -> int:
    """Revoke a session in one of several ways."""
    admin, path = api.by(await api.admin()), f"/v1/users/{ada.id}"
    ways = {
        "log out": lambda: api.by(ada).delete("/v1/sessions/current"),
        "end": lambda: admin.delete(f"/v1/sessions/{ada.session_id}"),
        "end all": lambda: admin.delete(f"{path}/sessions"),
        "disable": lambda: admin.patch(path, {"state": "disabled"}),
        "delete": lambda: admin.delete(path),
        "set password": lambda: admin.put(f"{path}/password", {"new_password": OTHER_PASSWORD}),
    }
    return (await ways[way]()).status_code


@pytest.mark.parametrize("way", ["log out", "end", "end all", "disable", "delete", "set password"])
async def test_revocation_takes_effect_at_the_next_request_to_another_replica(
    api: Api, replica: RunningService, test_settings: Settings, shared_database: str, way: str
) -> None:
    """Source: OWASP ASVS 5.0 7.4.1, 7.4.2; CVE-2023-22492, CVE-2024-46999."""
    ada = await api.account("ada")
    async with replica.client() as client:
        there = Api(client, replica.service)
        assert await status(there, ada) == 200
        assert await revoke(api, ada, way) in {200, 204}
        assert await status(there, ada) == 401
        key = await api.key(Scope.SESSIONS_INTROSPECT)
        answer = await there.by(key).post("/v1/introspect", {"token": ada.token})
        assert answer.json() == {"active": False}
    async with serving(test_settings, shared_database) as restarted, restarted.client() as client:
        assert await status(Api(client, restarted.service), ada) == 401


async def test_demotion_takes_effect_at_the_next_request_to_another_replica(
    api: Api, replica: RunningService
) -> None:
    admin, other = await api.admin(), await api.admin("other")
    async with replica.client() as client:
        there = Api(client, replica.service).by(other)
        assert (await there.get("/v1/users")).status_code == 200
        demoted = await api.by(admin).patch(f"/v1/users/{other.id}", {"role": "user"})
        assert demoted.status_code == 200
        assert (await there.get("/v1/users")).status_code == 401


async def test_enable_user_does_not_restore_its_sessions(api: Api) -> None:
    admin, ada = api.by(await api.admin()), await api.account("ada")
    for state in ("disabled", "active"):
        assert (await admin.patch(f"/v1/users/{ada.id}", {"state": state})).status_code == 200
    assert await status(api, ada) == 401
    assert (await api.log_in("ada")).status_code == 201


async def test_recreate_deleted_user_restores_nothing(api: Api) -> None:
    """Source: Zitadel CVE-2026-55670."""
    admin, old = api.by(await api.admin()), await api.account("ada")
    assert (await admin.delete(f"/v1/users/{old.id}")).status_code == 204
    new = await admin.post("/v1/users", {"login_id": "ada", "name": "A", "password": OTHER_PASSWORD})
    assert new.status_code == 201
    assert new.json()["id"] != str(old.id)
    assert await status(api, old) == 401
    assert (await admin.get(f"/v1/users/{old.id}")).status_code == 404
    assert (await api.log_in("ada", PASSWORD)).status_code == 401
