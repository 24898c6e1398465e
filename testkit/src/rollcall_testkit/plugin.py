"""The pytest plugin. Every run of pytest loads it: what takes time to import is imported in the fixtures."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rollcall_testkit.accounts import Rollcall
    from rollcall_testkit.server import RollcallServer

_HOME = "Rollcall's checkout, relative to the root directory; by default the one this kit was installed from"
_SETTINGS = "settings of the service under test, one NAME=value a line, such as ROLLCALL_REGISTRATION=open"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, which go into pytest's own configuration or after `-o`."""
    parser.addini("rollcall_home", _HOME, default="")
    parser.addini("rollcall_settings", _SETTINGS, type="linelist", default=[])


@pytest.fixture(scope="session")
def rollcall_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[RollcallServer]":
    """The running service: `url`, `root` (an administrator), `key` (an API key with every scope), `log`.

    Each worker of pytest-xdist has one of its own. Fails with one sentence when it cannot be had.
    """
    from contextlib import ExitStack

    from rollcall_testkit.checkout import find_checkout, settings_of
    from rollcall_testkit.errors import RollcallUnavailable
    from rollcall_testkit.server import serving

    config, place = request.config, tmp_path_factory.mktemp("rollcall")
    with ExitStack() as running:
        try:
            checkout = find_checkout(config.getini("rollcall_home"), config.rootpath)
            settings = settings_of(config.getini("rollcall_settings"))
            served = serving(checkout, settings, place=place, cache=_cache(config, place))
            server = running.enter_context(served)
        except RollcallUnavailable as error:
            pytest.fail(str(error), pytrace=False)
        yield server


@pytest.fixture
def rollcall(rollcall_server: "RollcallServer") -> "Rollcall":
    """The service with nobody in it but `root`, and short ways to fill it: `user()`, `admin()`, `key()`, …"""
    from rollcall_testkit.accounts import Rollcall

    rollcall_server.reset()
    return Rollcall(rollcall_server.url, rollcall_server.root)


def _cache(config: pytest.Config, otherwise: "Path") -> "Path":
    """Where the prepared database outlives the run: pytest's cache, unless that is switched off."""
    cache = getattr(config, "cache", None)
    return otherwise if cache is None else cache.mkdir("rollcall")
