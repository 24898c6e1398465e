"""What a request leaves behind: nothing that only the garbage collector could find, as that stops others."""

import gc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from types import FrameType

import httpx
import pytest

from service.services import Services
from tests.support.api import PASSWORD, Api

SERVICE = Path(__file__).parents[2] / "service"
Ask = Callable[[Api], Awaitable[httpx.Response]]
REQUESTS: dict[str, tuple[int, Ask]] = {
    "log in": (201, lambda api: api.by(None).log_in("ada")),
    "log in with a wrong password": (401, lambda api: api.by(None).log_in("ada", "not the password at all")),
    "ask who am I": (200, lambda api: api.get("/v1/users/me")),
    "ask with an unknown token": (401, lambda api: api.by("rcs_" + "0" * 43).get("/v1/users/me")),
    "list": (200, lambda api: api.get("/v1/users")),
    "read nobody": (404, lambda api: api.get("/v1/users/0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e")),
    "create": (
        201,
        lambda api: api.post("/v1/users", {"login_id": "new", "name": "N", "password": PASSWORD}),
    ),
    "create what is there": (409, lambda api: api.post("/v1/users", {"login_id": "ada", "name": "N"})),
    "create with a fault": (422, lambda api: api.post("/v1/users", {"login_id": "", "name": ""})),
    "change": (200, lambda api: api.patch("/v1/users/me", {"name": "Ada L."})),
    "ask for no path": (404, lambda api: api.get("/v1/nothing")),
    "log out": (204, lambda api: api.delete("/v1/sessions/current")),
}


@pytest.fixture(scope="module")
def _frozen() -> Iterator[None]:
    """What was there before the first test need not be looked through again."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def _collector(_frozen: None) -> Iterator[None]:
    """The collector, told to show what it finds, and to run only when it is asked."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


def is_ours(frame: FrameType) -> bool:
    return Path(frame.f_code.co_filename).is_relative_to(SERVICE)


def found_of_ours() -> list[str]:
    gc.collect()
    ours = [type(found).__qualname__ for found in gc.garbage if type(found).__module__.startswith("service.")]
    ours += [
        found.f_code.co_qualname for found in gc.garbage if isinstance(found, FrameType) and is_ours(found)
    ]
    gc.garbage.clear()
    return ours


@pytest.mark.usefixtures("_collector")
@pytest.mark.parametrize("name", REQUESTS)
async def test_response_leaves_no_reference_cycle_behind(api: Api, name: str) -> None:
    admin = api.by(await api.admin("ada"))
    status, ask = REQUESTS[name]
    assert (await ask(admin)).status_code == status
    found_of_ours()  # what is made once, by the first request of its kind
    if status != 204:
        await ask(admin)
    assert found_of_ours() == []


@pytest.mark.usefixtures("_collector")
async def test_reject_for_want_of_room_leaves_no_reference_cycle_behind(
    api: Api, service: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.account()
    limiter = service.hasher.limiter
    monkeypatch.setattr(limiter, "queue_timeout", timedelta(0))
    async with AsyncExitStack() as permits:
        for _ in range(limiter.total_permits):
            await permits.enter_async_context(limiter.acquire("others"))
        found_of_ours()
        assert (await api.log_in("ada")).status_code == 503
        assert found_of_ours() == []
