"""Tests of an application that uses Rollcall: no mock, no container, no clean-up."""

import pytest
from rollcall_testkit.client import Rollcall
from rollcall_testkit.server import RollcallServer

from service import greet
from settings import Settings


@pytest.fixture(scope="session")
def settings(rollcall_server: RollcallServer) -> Settings:
    """The application's own settings, pointing at the service under test."""
    return Settings(rollcall_server.url, rollcall_server.key.token)


def test_greet_with_a_valid_token_returns_200(rollcall: Rollcall, settings: Settings) -> None:
    ada = rollcall.user("ada@example.org", "Ada")
    assert greet(ada.headers, settings) == (200, "Good morning, ada@example.org.")


def test_greet_without_a_valid_token_returns_401(settings: Settings) -> None:
    assert greet({}, settings)[0] == 401
    assert greet({"Authorization": "Bearer rcs_of-nobody"}, settings)[0] == 401


def test_greet_after_log_out_returns_401(rollcall: Rollcall, settings: Settings) -> None:
    ada = rollcall.user("ada@example.org", "Ada")  # again: every test begins with an empty database
    assert greet(ada.headers, settings)[0] == 200
    rollcall.log_out(ada)
    assert greet(ada.headers, settings)[0] == 401


def test_greet_of_a_disabled_user_returns_401(rollcall: Rollcall, settings: Settings) -> None:
    ada, bob = rollcall.user(), rollcall.user()
    rollcall.disable(ada)
    assert [greet(each.headers, settings)[0] for each in (ada, bob)] == [401, 200]
