"""The listening socket and the settings of the server."""

import socket
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import click
import pytest

from harness.service_process import free_port
from service.server.uvicorn_server import bind_socket, server_config
from settings.http import HttpSettings
from tests.support.settings import settings_for_tests


def test_bind_socket_is_not_inherited_by_a_database_that_is_started_later() -> None:
    with bind_socket(settings_for_tests(http=HttpSettings(port=free_port()))) as listener:
        assert not listener.get_inheritable()


def test_bind_socket_that_the_system_refuses_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_socket: socket.socket, _address: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(click.ClickException) as caught:
        bind_socket(settings_for_tests(http=HttpSettings(port=80)))
    assert caught.value.format_message() == "Cannot listen on http://127.0.0.1:80: Permission denied."


@pytest.mark.parametrize("milliseconds", [0, 300, 30_000])
def test_drain_timeout_is_not_rounded(milliseconds: int) -> None:
    http = HttpSettings(drain_timeout=timedelta(milliseconds=milliseconds))
    app: Any = SimpleNamespace(edge=SimpleNamespace(respond_to_error=None))
    config = server_config(settings_for_tests(http=http), app)
    assert cast(float, config.timeout_graceful_shutdown) == milliseconds / 1000
