"""The pytest plugin. Every run of pytest loads it, so slow imports are in the fixtures."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rollcall_testkit.client import Rollcall
    from rollcall_testkit.server import RollcallServer

_HOME = "Rollcall's checkout, relative to the root directory; by default the one this kit was installed from"
_SETTINGS = "settings of the service under test, one NAME=value a line, such as ROLLCALL_REGISTRATION=open"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, for pytest's configuration or `-o`."""
    parser.addini("rollcall_home", _HOME, default="")
    parser.addini("rollcall_settings", _SETTINGS, type="linelist", default=[])


@pytest.fixture(scope="session")
def rollcall_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[RollcallServer]":
    """The running service: `url`, `root` (an administrator), `key` (an API key with every scope), `log`.

    Each worker of pytest-xdist has its own. Fails with one sentence if the service cannot be started.
    """
    from contextlib import ExitStack

    from rollcall_testkit.checkout import find_checkout, parse_settings
    from rollcall_testkit.errors import RollcallUnavailable
    from rollcall_testkit.server import serving

    config, directory = request.config, tmp_path_factory.mktemp("rollcall")
    with ExitStack() as running:
        try:
            checkout = find_checkout(config.getini("rollcall_home"), config.rootpath)
            settings = parse_settings(config.getini("rollcall_settings"))
            served = serving(checkout, settings, directory=directory, cache=_cache(config, directory))
            server = running.enter_context(served)
        except RollcallUnavailable as error:
            pytest.fail(str(error), pytrace=False)
        yield server


@pytest.fixture
def rollcall(rollcall_server: "RollcallServer") -> "Rollcall":
    """The service with no user but `root`, and methods to add some: `user()`, `admin()`, `key()`, …"""
    from rollcall_testkit.client import Rollcall

    rollcall_server.reset()
    return Rollcall(rollcall_server.url, rollcall_server.root, rollcall_server.mailbox)


def _cache(config: pytest.Config, default: "Path") -> "Path":
    """Return pytest's cache directory, where the template outlives the run, unless it is switched off."""
    cache = getattr(config, "cache", None)
    return default if cache is None else cache.mkdir("rollcall")
