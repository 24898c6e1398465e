"""The directory in which a client is generated and built, and the tools that do it.

What has to be downloaded comes through the ordinary package clients, as this machine has them configured.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from harness.service_process import ROOT

DOCUMENT: Final = ROOT / "docs/openapi.json"
WORK: Final = ROOT / "var/generated-clients"
OPENAPI_GENERATOR: Final = "7.25.0"
_PROGRAMS: Final = Path(__file__).parent / "programs"
_TIMEOUT_S: Final = 1200
_LOG_TAIL_CHARS: Final = 1500


class Unavailable(Exception):
    """A tool is not on this machine, so that nothing can be said of the client."""


class StepFailed(Exception):
    """Generating or building a client failed; the message is the end of the output."""


@dataclass(frozen=True)
class Workspace:
    """An empty directory for one client. `log` collects the output of every command."""

    directory: Path
    log: list[str] = field(default_factory=list)

    @classmethod
    def empty(cls, name: str) -> "Workspace":
        """Return the workspace of a name, emptied of what an earlier run left."""
        directory = WORK / name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        return cls(directory)

    def run(self, *command: str | Path, **variables: str) -> None:
        """Run a command in the directory. Raises: Unavailable, StepFailed."""
        if shutil.which(str(command[0])) is None:
            raise Unavailable(f"no {Path(command[0]).name} on this machine")
        done = subprocess.run(  # noqa: S603 - commands of this package
            [str(part) for part in command],
            cwd=self.directory,
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        self.log.append(f"$ {' '.join(map(str, command))}\n{done.stdout}")
        if done.returncode:
            raise StepFailed(done.stdout.strip()[-_LOG_TAIL_CHARS:])

    def add_program(self, *names: str, to: str = ".") -> None:
        """Copy files of `programs` into the directory."""
        target = self.directory / to
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copy(_PROGRAMS / name, target)

    def generate(self, generator: str, *arguments: str, to: str = ".") -> None:
        """Generate a client with openapi-generator."""
        command = ["java", "-jar", str(_generator_jar()), "generate", "-g", generator, "-i", str(DOCUMENT)]
        self.run(*command, "-o", to, *arguments)


def _generator_jar() -> Path:
    """Return the openapi-generator, fetched once by Maven."""
    jar = WORK / f"tools/openapi-generator-cli-{OPENAPI_GENERATOR}.jar"
    if not jar.exists():
        artifact = f"org.openapitools:openapi-generator-cli:{OPENAPI_GENERATOR}"
        tools = Workspace.empty("tools")
        tools.run("mvn", "-q", "-B", "dependency:get", f"-Dartifact={artifact}", "-Dtransitive=false")
        tools.run("mvn", "-q", "-B", "dependency:copy", f"-Dartifact={artifact}", "-DoutputDirectory=.")
    return jar


def run_program(command: Sequence[str | Path], **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the program of a client, which prints a line for each step."""
    return subprocess.run(  # noqa: S603 - commands of this package
        [str(part) for part in command],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
