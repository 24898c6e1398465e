"""A client generated from the document works against the running service, and against a later release.

`make prove-generated` does the same in seven languages.
"""

import importlib
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from service.domain.keys import Scope
from tests.support.api import OTHER_PASSWORD, PASSWORD, Api, RunningService
from tests.support.servers import RunningServer, listening
from tools.generated_clients.newer_service import AFTER_2038, NEW_ACTION, newer_service

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "generated_rollcall"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The client that openapi-python-client writes, without a warning."""
    directory = tmp_path_factory.mktemp("client")
    (directory / "config.yml").write_text("post_hooks: []\n")
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"]
    command += ["--path", str(ROOT / "docs/openapi.json"), "--output-path", str(directory / PACKAGE)]
    command += ["--config", str(directory / "config.yml"), "--fail-on-warning"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in (done.stdout + done.stderr).lower()
    spec = importlib.util.spec_from_file_location(PACKAGE, directory / PACKAGE / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = module
    spec.loader.exec_module(module)
    return module


async def call(tag: str, operation: str, client: Any, *arguments: Any, **parameters: Any) -> Any:
    """Call an operation of the generated client."""
    module = importlib.import_module(f"{PACKAGE}.api.{tag}.{operation}")
    return await module.asyncio_detailed(*arguments, client=client, **parameters)


@pytest.fixture(params=["this release", "a later release"])
def address_of(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Return the address of a server, or of a proxy that makes it a later release."""
    with ExitStack() as stack:

        def address(server: RunningServer) -> str:
            is_newer = request.param == "a later release"
            return stack.enter_context(newer_service(server.url)) if is_newer else server.url

        yield address


async def test_generated_python_client_logs_in_lists_changes_and_logs_out(
    api: Api, running: RunningService, generated: ModuleType, address_of: Any
) -> None:
    await api.admin()
    models = importlib.import_module(f"{PACKAGE}.models")
    key = await api.key(Scope.SESSIONS_INTROSPECT)
    credentials = {"login_id": "root", "password": PASSWORD}

    async with listening(running) as server:
        url = address_of(server)
        async with generated.Client(base_url=url) as anonymous:
            body = models.LogInBody(**credentials)
            opened = (await call("sessions", "log_in", anonymous, body=body)).parsed
            body = models.LogInBody(login_id="root", password="wrong")
            refused = (await call("sessions", "log_in", anonymous, body=body)).parsed
        async with generated.AuthenticatedClient(base_url=url, token=key) as gateway:
            body = models.IntrospectBody(token=opened.token)
            active = (await call("introspection", "introspect", gateway, body=body)).parsed
        async with generated.AuthenticatedClient(base_url=url, token=opened.token) as client:
            body = models.CreateUserBody(login_id="ada", name="Ada", role=models.UserRole.ADMIN)
            ada = (await call("users", "create_user", client, body=body)).parsed
            page = (await call("users", "list_users", client, id=[str(ada.id)], limit=10)).parsed
            events = (await call("events", "list_events", client)).parsed
            body = models.ChangePasswordBody(current_password=PASSWORD, new_password=OTHER_PASSWORD)
            changed = await call("passwords", "change_password", client, "me", body=body)
            ended = await call("sessions", "log_out", client)

    assert isinstance(refused, models.Problem)
    assert refused.code == "invalid_credentials"
    assert [user.login_id for user in page.items] == ["ada"]
    assert page.items[0].role is models.UserRole.ADMIN
    assert (active.active, active.username) == (True, "root")
    is_newer = active.exp == AFTER_2038
    assert ({event.action for event in events.items} == {NEW_ACTION}) == is_newer
    assert ("added_in_a_later_release" in ada.additional_properties) == is_newer
    assert (changed.status_code, ended.status_code) == (204, 204)
