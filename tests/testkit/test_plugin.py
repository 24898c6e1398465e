"""The kit in the hands of a consumer: a project of its own, with modules named as ours are."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.service_process import postgres_processes
from tests.support.consumers import ROOT, project_of, run_tests

_ASYNC = """
import os
from pathlib import Path

import pytest

import service
from rollcall_testkit.errors import ApiError
from rollcall_testkit.passkeys import SoftwarePasskey


def make_a_mess(rollcall):
    Path(os.environ["PYTEST_XDIST_WORKER"]).write_text(rollcall.url)
    listed = rollcall.request("GET", "/v1/users", by=rollcall.root).json()
    assert [user["login_id"] for user in listed["items"]] == ["root"]
    ada, key = rollcall.user("ada"), rollcall.key("users:read")
    assert rollcall.request("GET", "/v1/users/ada-is-no-id", by=key).status == 404
    assert rollcall.request("GET", "/v1/users/me", by=ada).json()["id"] == ada.id
    discovered = rollcall.request("GET", "/.well-known/openid-configuration").json()
    assert discovered["issuer"] == rollcall.url
    eve = rollcall.user("eve", email="eve@example.org")
    assert rollcall.mailbox.mails() == []
    rollcall.request("POST", "/v1/recoveries", {"login_id": "eve"})
    token = rollcall.mailbox.wait(to="eve@example.org").token
    body = {"token": token, "new_password": "crimson kettle drums loudly"}
    assert rollcall.request("POST", "/v1/reset-tokens/redeem", body).status == 204
    assert rollcall.log_in("eve", "crimson kettle drums loudly").id == eve.id
    rollcall.log_out(rollcall.root)  # what every test finds is whole again for the next
    assert rollcall.request("GET", "/v1/users/me", by=rollcall.root).status == 401


@pytest.mark.parametrize("number", range(3))
def test_sync(rollcall, number):
    make_a_mess(rollcall)


@pytest.mark.asyncio
@pytest.mark.parametrize("number", range(2))
async def test_asyncio(rollcall, number):
    make_a_mess(rollcall)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("number", range(2))
async def test_anyio(rollcall, number):
    make_a_mess(rollcall)


def session_of(rollcall, user):
    return rollcall.request("GET", "/v1/sessions/current", by=user).json()["session"]


def test_log_in_with_an_authenticator_app(rollcall):
    ada = rollcall.user("ada", totp=True)
    assert rollcall.request("GET", "/v1/users/me", by=ada).json()["factors"] == ["totp"]
    with pytest.raises(ApiError, match="second_factor_required"):
        rollcall.log_in("ada")
    again = rollcall.log_in("ada", totp=ada.totp)
    assert [session_of(rollcall, user)["assurance"] for user in (ada, again)] == [2, 2]


def test_log_in_with_a_passkey(rollcall):
    ada, passkey, origin = rollcall.user("ada"), SoftwarePasskey(), "http://localhost"
    begun = rollcall.request("POST", "/v1/users/me/passkeys/options", by=ada).json()
    made = passkey.create(begun.pop("public_key"), origin)
    added = rollcall.request("POST", "/v1/users/me/passkeys", {**begun, "passkey": made}, by=ada)
    assert added.status == 201
    begun = rollcall.request("POST", "/v1/passkey-challenges").json()
    answer = passkey.get(begun.pop("public_key"), origin)
    opened = rollcall.request("POST", "/v1/sessions", {**begun, "passkey": answer}).json()
    assert (opened["user"]["id"], opened["session"]["assurance"]) == (ada.id, 2)


def test_modules_with_the_names_of_ours_are_the_consumers():
    assert Path(service.__file__).parent == Path(__file__).parent
"""
_ENDING = """
import os
import signal
from pathlib import Path

import pytest


@pytest.fixture
def goodbye(rollcall):
    yield
    Path("goodbye").write_text(rollcall.user("ada").login_id)


def test_end(rollcall_server, goodbye):
    Path("place").write_text(str(rollcall_server.log.parent))
    {ending}
"""
_ANY = "def test_any(rollcall):\n    pass\n"


def test_run_suite_on_two_workers_resets_a_service_for_each(tmp_path: Path) -> None:
    project = project_of(tmp_path, test_mess=_ASYNC)
    ran = run_tests(project, "-n", "2", "--dist", "each")  # the same in both at the same time
    assert " 28 passed" in ran.stdout, ran.stdout + ran.stderr
    assert ran.returncode == 0
    assert (project / "gw0").read_text() != (project / "gw1").read_text()
    assert postgres_processes(project) == []


def test_interrupt_pytest_tears_down_fixtures_before_the_service(tmp_path: Path) -> None:
    ctrl_c = "os.killpg(0, signal.SIGINT)"  # reaches every process of the terminal's group
    project = project_of(tmp_path, test_end=_ENDING.format(ending=ctrl_c))
    required = "rollcall_settings=ROLLCALL_FACTORS__REQUIRED=admins"  # `root` has the factor, and creates ada
    ran = run_tests(project, "test_end.py", "-o", required)
    assert ran.returncode == 2, ran.stdout + ran.stderr
    assert (project / "goodbye").read_text() == "ada"
    assert has_ended(project)


def test_kill_pytest_ends_service_and_database(tmp_path: Path) -> None:
    project = project_of(tmp_path, test_end=_ENDING.format(ending="os.kill(os.getpid(), signal.SIGKILL)"))
    ran = run_tests(project, "test_end.py")
    assert ran.returncode == -signal.SIGKILL, ran.stdout + ran.stderr
    assert not (project / "goodbye").exists()
    ends_at = time.monotonic() + 120
    while not has_ended(project) and time.monotonic() < ends_at:
        time.sleep(0.02)  # nobody is left who could wait for it
    assert has_ended(project)


def has_ended(project: Path) -> bool:
    """Tell whether the service has drained, its database has stopped, and its files are gone."""
    place = Path((project / "place").read_text())
    is_drained = "draining" in (place / "service.log").read_text()
    return is_drained and not postgres_processes(project) and not (place / "postgres").exists()


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("rollcall_home=elsewhere", "elsewhere is no checkout of Rollcall: name Rollcall's checkout in"),
        (
            "rollcall_settings=ROLLCALL_REGISTRATION=ajar",
            "Rollcall does not start: ROLLCALL_REGISTRATION: must be one of closed, open",
        ),
    ],
)
def test_run_suite_with_a_failing_start_reports_it_in_one_sentence(
    tmp_path: Path, option: str, told: str
) -> None:
    ran = run_tests(project_of(tmp_path, test_any=_ANY), "test_any.py", "-o", option)
    assert ran.returncode == 1
    assert told in ran.stdout
    assert "Traceback" not in ran.stdout + ran.stderr
    assert "Fatal" not in ran.stdout
    assert "1 error" in ran.stdout


def test_import_plugin_imports_nothing_slow() -> None:
    script = (
        "import sys, pytest; before = set(sys.modules); import rollcall_testkit.plugin;"
        "print(*sorted(set(sys.modules) - before))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(ROOT / "testkit/src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.split() == ["rollcall_testkit", "rollcall_testkit.plugin"]
