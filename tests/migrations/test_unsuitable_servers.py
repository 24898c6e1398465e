"""A database that cannot hold the schema is refused, in one sentence with the remedy."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from click.testing import CliRunner
from structlog.testing import capture_logs

from service.cli.database import database as group
from service.db.migrations.running import UnsuitableServer, upgrade
from settings import get_settings
from tests.support.api import Api, serving
from tests.support.databases import Databases
from tests.support.settings import settings_for_tests

C = "TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'C'"


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_migrate_and_ready_reject_an_encoding_that_cannot_hold_every_text(
    databases: Databases, encoding: str
) -> None:
    async with databases.created(f"{C} ENCODING '{encoding}'") as dsn:
        with pytest.raises(UnsuitableServer, match=f"encoding of this database, {encoding}.*ENCODING 'UTF8'"):
            await upgrade(dsn)
        with capture_logs() as lines:
            async with serving(settings_for_tests(), dsn) as running, running.client() as client:
                assert (await client.get("/health/ready")).status_code == 503
    (line,) = [line for line in lines if line["event"] == "not_ready"]
    assert (line["reason"], encoding in line["cause"]) == ("server", True)


@pytest_asyncio.fixture
async def latin(databases: Databases) -> AsyncIterator[str]:
    async with databases.created(f"{C} ENCODING 'LATIN1'") as dsn:
        yield dsn


def test_migrate_by_command_rejects_an_encoding_in_one_sentence(
    latin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", latin)
    get_settings.cache_clear()
    done = CliRunner().invoke(group, ["migrate"])
    get_settings.cache_clear()
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: The encoding of this database, LATIN1, cannot hold every text")
    assert len(done.stderr.splitlines()) == 1


async def test_search_by_login_id_in_a_database_whose_locale_folds_ascii_alone_ignores_case(
    databases: Databases,
) -> None:
    async with databases.created(f"{C} ENCODING 'UTF8'") as dsn:
        await upgrade(dsn)
        settings = settings_for_tests(login_ids="unicode")
        async with serving(settings, dsn) as running, running.client() as client:
            admin = (api := Api(client, running.service)).by(await api.admin())
            await admin.post("/v1/users", {"login_id": "müller", "name": "Somebody"})
            for prefix in ("mü", "MÜ", "ＭÜ"):
                found = (await admin.get("/v1/users", params={"q": prefix})).json()["items"]
                assert [user["login_id"] for user in found] == ["müller"]
