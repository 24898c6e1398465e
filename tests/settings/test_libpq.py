import os
from collections.abc import Iterator

import pytest

from settings.libpq import discard_libpq_variables


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    discard_libpq_variables.cache_clear()
    yield
    discard_libpq_variables.cache_clear()


def test_discard_libpq_variables_removes_them_and_remembers_their_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("PGSSLMODE", "PGHOST", "PGPASSWORD", "PGDATA"):
        monkeypatch.setenv(name, "x")
    assert discard_libpq_variables() == ("PGHOST", "PGSSLMODE")
    assert discard_libpq_variables() == ("PGHOST", "PGSSLMODE")
    assert {"PGHOST", "PGSSLMODE", "PGPASSWORD", "PGDATA"} & os.environ.keys() == {"PGPASSWORD", "PGDATA"}
