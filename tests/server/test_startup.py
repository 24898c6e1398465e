import json
import subprocess
import sys

import pytest

LIBRARIES = {"alembic", "cryptography", "litestar", "sqlalchemy", "uvicorn", "webauthn"}
STAGES = {
    "service.cli": "",
    "service.server.startup": "",
    "service.security.totp, service.security.webauthn": "",
    "service.server.serving": "litestar sqlalchemy uvicorn",
}
"""Modules, and what is imported once they are; each after those before it, in one process."""
_SERVE = f"""
import json, sys
sys.argv[1:] = ["serve"]
import service.__main__
imported = {{}}
for stage in {list(STAGES)}:
    exec(f"import {{stage}}")
    imported[stage] = " ".join(sorted({LIBRARIES} & set(sys.modules)))
imported["rich"] = str("rich.console" in sys.modules)
print(json.dumps(imported))
"""


@pytest.fixture(scope="module")
def imported() -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", _SERVE], capture_output=True, text=True, check=True, timeout=60
    )
    stages: dict[str, str] = json.loads(done.stdout)
    return stages


@pytest.mark.parametrize("stage", STAGES)
def test_import_of_a_stage_of_the_start_imports_no_later_stage(imported: dict[str, str], stage: str) -> None:
    assert imported[stage] == STAGES[stage]


def test_server_does_without_rich(imported: dict[str, str]) -> None:
    assert imported["rich"] == "False"
