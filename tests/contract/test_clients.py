"""A client generated from the document works against the running service."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.api import PASSWORD, Api, RunningService
from tests.support.servers import listening

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


async def test_generated_python_client_logs_in_and_lists_accounts(
    api: Api, running: RunningService, generated: ModuleType
) -> None:
    await api.admin()
    log_in = importlib.import_module(f"{PACKAGE}.api.sessions.log_in")
    list_users = importlib.import_module(f"{PACKAGE}.api.users.list_users")
    models = importlib.import_module(f"{PACKAGE}.models")

    async with listening(running) as server:
        async with generated.Client(base_url=server.url) as anonymous:
            body = models.LogInBody(login_id="root", password=PASSWORD)
            opened = await log_in.asyncio(client=anonymous, body=body)
            refused = await log_in.asyncio(
                client=anonymous, body=models.LogInBody(login_id="root", password="wrong")
            )
        async with generated.AuthenticatedClient(base_url=server.url, token=opened.token) as client:
            page = await list_users.asyncio(client=client, limit=10)

    assert isinstance(opened, models.LoggedInView)
    assert isinstance(refused, models.Problem)
    assert refused.code == "invalid_credentials"
    assert [user.login_id for user in page.items] == ["root"]
    assert page.items[0].role is models.UserRole.ADMIN
