import subprocess
import sys

import pytest

IMPORT = (
    "import sys, {module};"
    "print(*sorted({{'litestar', 'sqlalchemy', 'uvicorn', 'alembic'}} & set(sys.modules)))"
)


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("service.cli", ""),
        ("service.server.startup", ""),
        ("service.server.serving", "litestar sqlalchemy uvicorn"),
    ],
)
def test_import_of_a_stage_of_the_start_imports_no_later_stage(module: str, imported: str) -> None:
    command = [sys.executable, "-c", IMPORT.format(module=module)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == imported
