import subprocess
import sys

import pytest

from harness.service_process import ROOT, environment

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
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == imported


@pytest.mark.parametrize("is_configured", [True, False], ids=["with passkeys", "without passkeys"])
def test_application_imports_the_library_of_passkeys_if_they_are_configured(is_configured: bool) -> None:
    passkeys = {"ROLLCALL_FACTORS__RP_ID": "localhost", "ROLLCALL_FACTORS__ORIGINS": "http://localhost"}
    code = (
        "import sys; from service.app import create_app; from settings import get_settings;"
        "create_app(get_settings(), dsn='postgresql://nobody@127.0.0.1:1/none');"
        "print('webauthn' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "tests",  # a developer's .env is in the root
        env=environment(**(passkeys if is_configured else {})),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == str(is_configured)
