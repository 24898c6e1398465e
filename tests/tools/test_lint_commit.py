import pytest

from tools.lints import commit


def test_service_commits_in_one_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert commit.main() == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("x = 1\nawait_ = connection.commit()", [2]),
        ("with engine.begin() as connection:\n    pass", [1]),
        ("run(text('COMMIT'))", [1]),
        ("run('BEGIN READ ONLY')", [1]),
        ('"""COMMIT was sent."""', []),
        ("database.run(work)\nbegin()", []),
    ],
)
def test_transactions_in_finds_calls_and_sql(source: str, lines: list[int]) -> None:
    assert list(commit.transactions_in(source)) == lines
