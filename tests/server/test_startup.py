import json
import subprocess
import sys
from functools import cache

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
first, sys.argv[1:] = sys.argv[1], ["serve"]
exec(f"import {{first}}")
imported = {{}}
for stage in {list(STAGES)}:
    exec(f"import {{stage}}")
    imported[stage] = " ".join(sorted({LIBRARIES} & set(sys.modules)))
imported["rich"] = str("rich.console" in sys.modules)
print(json.dumps(imported))
"""


@cache
def imported_after(first: str) -> dict[str, str]:
    """Return what a server has imported after each stage, and whether it has imported rich."""
    done = subprocess.run(
        [sys.executable, "-c", _SERVE, first], capture_output=True, text=True, check=True, timeout=60
    )
    stages: dict[str, str] = json.loads(done.stdout)
    return stages


@pytest.mark.parametrize("stage", STAGES)
def test_import_of_a_stage_of_the_start_imports_no_later_stage(stage: str) -> None:
    assert imported_after("service.__main__")[stage] == STAGES[stage]


@pytest.mark.parametrize("first", ["service.__main__", "service.server.supervisor"])
def test_server_and_its_workers_do_without_rich(first: str) -> None:
    assert imported_after(first)["rich"] == "False"
