"""The administrator of the first run, and what its password is good for."""

import re
from asyncio import to_thread

import pytest
from httpx import Response

from service.server.first_admin import ensure_first_admin
from settings import Settings
from settings.http import HttpSettings
from settings.passwords import PasswordSettings
from tests.support.api import Api, serving
from tests.support.settings import settings_for_tests


async def first_log_in(settings: Settings, dsn: str, shown: str) -> tuple[Response, int]:
    """Log in with the password that was shown; return the response and the status of a read."""
    found = re.search(r"password  (\S+)", shown)
    assert found is not None
    async with serving(settings, dsn) as running, running.client() as client:
        api = Api(client, running.service)
        answer = await api.log_in("root", found[1])
        return answer, (await api.by(answer.json()["token"]).get("/v1/users")).status_code


@pytest.mark.parametrize(("host", "expected"), [("127.0.0.1", 200), ("::1", 200), ("0.0.0.0", 403)])
async def test_first_password_has_to_be_changed_unless_the_service_listens_on_loopback(
    database: str, capsys: pytest.CaptureFixture[str], host: str, expected: int
) -> None:
    """Source: OWASP ASVS 5.0 6.4.1."""
    chosen = Settings(passwords=PasswordSettings(workers=1), http=HttpSettings(host=host))

    await to_thread(ensure_first_admin, chosen, database)
    answer, status = await first_log_in(settings_for_tests(), database, capsys.readouterr().err)

    assert (answer.status_code, status) == (201, expected)
