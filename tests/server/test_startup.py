import subprocess
import sys

import pytest

LIBRARIES = {"alembic", "cryptography", "litestar", "sqlalchemy", "uvicorn", "webauthn"}


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("service.cli", ""),
        ("service.server.startup", ""),
        ("service.server.serving", "litestar sqlalchemy uvicorn"),
        ("service.security.totp, service.security.webauthn", ""),
    ],
)
def test_import_of_a_stage_of_the_start_imports_no_later_stage(module: str, imported: str) -> None:
    code = f"import sys, {module}; print(*sorted({LIBRARIES} & set(sys.modules)))"
    assert output_of(code) == imported


@pytest.mark.parametrize("first", ["service.__main__", "service.server.supervisor"])
def test_server_and_its_workers_do_without_rich(first: str) -> None:
    code = f"import {first}, service.server.serving; print('rich.console' in sys.modules)"
    assert output_of(f"import sys; sys.argv[1:] = ['serve']; {code}") == "False"


def output_of(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()
