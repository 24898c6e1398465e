"""Build argon2 for the processor of this machine, and compare it with the wheel that it replaces.

The wheel of argon2-cffi-bindings runs on every x86-64 processor there ever was. Built from the same pinned
sources for one that has AVX2 or AVX-512, a hash of the same parameters takes half as long or less. What is
built here may not run on another machine.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements/runtime.txt"
BUILD_REQUIREMENTS = ROOT / "requirements/build.txt"
PACKAGE = "argon2-cffi-bindings"
FLAGS = "-O3 -march=native"
ROUNDS = 5
MEASURE = """
import os, threading, time
from argon2.low_level import Type, hash_secret, verify_secret
known = b"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
verify_secret(known, b"password", Type.ID)
stored = hash_secret(b"password", os.urandom(16), 2, 19456, 1, 32, Type.ID)
ends_at, done = time.perf_counter() + 1.0, []
def work():
    while time.perf_counter() < ends_at:
        done.append(verify_secret(stored, b"password", Type.ID))
threads = [threading.Thread(target=work) for _ in range(os.cpu_count())]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(done) / (time.perf_counter() - ends_at + 1.0))
"""


class Failed(Exception):
    """A step failed; the message says why."""


def main() -> None:
    """Build, measure and install it, or install the wheel again."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--undo", action="store_true", help="install the wheel again")
    try:
        undo() if parser.parse_args().undo else replace()
    except Failed as failure:
        sys.exit(f"{failure}")
    except KeyboardInterrupt:
        sys.exit(130)


def undo() -> None:
    """Install the pinned wheel again."""
    with tempfile.TemporaryDirectory() as place:
        pip("install", "--force-reinstall", "--only-binary", PACKAGE, *pinned(Path(place)))
    print_result("The wheel for any processor is back.")


def replace() -> None:
    """Install the build if it verifies a known hash."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        print_result(f"Building {PACKAGE} with {FLAGS} …")
        build(folder)
        (built,) = folder.glob("*.whl")
        pip("install", "--target", str(folder / "built"), str(built))
        compare(folder / "built")
        pip("install", "--force-reinstall", str(built))
    print_result("It is installed. Back to the wheel: make native-argon2 UNDO=1")


def build(folder: Path) -> None:
    """Build a wheel in the folder, with the pinned build tools in an environment of their own."""
    tools = folder / "tools"
    run(
        [sys.executable, "-m", "venv", str(tools)],
        "Python's venv module is missing: apt install python3-venv",
    )
    python = str(tools / "bin/python")
    pip("install", "--require-hashes", "--only-binary", ":all:", "-r", str(BUILD_REQUIREMENTS), python=python)
    pip(
        *(
            "wheel",
            "--no-build-isolation",
            "--no-binary",
            PACKAGE,
            "--wheel-dir",
            str(folder),
            *pinned(folder),
        ),
        python=python,
        CFLAGS=FLAGS,
        PATH=f"{tools / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
    )


def compare(built: Path) -> None:
    """Measure the installed package and the build in interleaved rounds, and print the medians."""
    rates: dict[str, list[float]] = {"installed": [], "built here": []}
    for number in range(ROUNDS):
        rates["installed"].append(hashes_a_second())
        rates["built here"].append(hashes_a_second(PYTHONPATH=str(built)))
        shown = ", ".join(f"{name} {rate[-1]:.0f}/s" for name, rate in rates.items())
        print_result(f"  round {number + 1} of {ROUNDS}: {shown}")
    ratios = [mine / theirs for theirs, mine in zip(*rates.values(), strict=True)]
    print_result(f"Hashes of 19 MiB on all cores: {median(ratios):.2f} × as many as before.")


def hashes_a_second(**environment: str) -> float:
    """Verify a known hash, and return how many of ours can be verified a second."""
    told = run([sys.executable, "-c", MEASURE], "argon2 does not verify a known hash", **environment)
    return float(told)


def pinned(folder: Path) -> list[str]:
    """Return pip's options for the pinned version of the package."""
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"{PACKAGE}=="))
    end = next(number for number in range(start, len(lines)) if not lines[number].endswith("\\"))
    file = folder / "pinned.txt"
    file.write_text("\n".join(lines[start : end + 1]) + "\n", encoding="utf-8")
    return ["--require-hashes", "--requirement", str(file)]


def pip(command: str, *options: str, python: str = sys.executable, **environment: str) -> None:
    """Run pip, without dependencies and without its cache, which ignores compiler flags."""
    quietly = ["--quiet", "--disable-pip-version-check", "--no-cache-dir", "--no-deps"]
    hint = f"pip {command} failed. It takes a C compiler and Python's headers: apt install gcc python3-dev"
    run([python, "-m", "pip", command, *quietly, *options], hint, **environment)


def run(command: list[str], failure: str, **environment: str) -> str:
    """Run a command and return its output.

    Raises:
        Failed: it ended with another status than 0.
    """
    ended = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if ended.returncode != 0:
        last_line = ended.stderr.strip().rpartition("\n")[2] or f"nothing, with status {ended.returncode}"
        raise Failed(f"{failure}. The last it said: {last_line}")
    return ended.stdout


def print_result(line: str) -> None:
    """Print progress."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
