"""Print where a noun lives, layer by layer: `python -m tools.where recovery`, or `make where F=recovery`."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[1]
LAYERS = (
    ("api/v1", "service/api/v1"),
    ("schemas", "service/api/schemas"),
    ("api", "service/api"),
    ("usecases", "service/usecases"),
    ("jobs", "service/jobs"),
    ("repositories", "service/db/repositories"),
    ("tables", "service/db/tables"),
    ("db", "service/db"),
    ("security", "service/security"),
    ("domain", "service/domain"),
    ("mail", "service/mail"),
    ("adapters", "service/adapters"),
    ("observability", "service/observability"),
    ("server", "service/server"),
    ("cli", "service/cli"),
    ("service", "service"),
    ("settings", "settings"),
    ("migrations", "alembic"),
    ("tests", "tests"),
    ("docs", "docs"),
    ("tools", "tools"),
)
"""A file belongs to the first layer whose folder it is in."""
_SHOWN = 4
"""Files of a layer that contain the stem."""


def where(stem: str, root: Path = ROOT) -> Iterator[tuple[str, list[str]]]:
    """Yield each layer with the files named for the stem.

    Unless one has its very name, those that contain it most come after them.

    The words of a stem may be joined in any way: `second_factor`, `second-factor`, `second factor`. Singular
    and plural find the same.
    """
    words = [re.escape(word) for word in re.split(r"[\s_-]+", stem.lower())]
    words[-1] = _either_number(words[-1])
    files = _files(root)
    for layer, folder in LAYERS:
        inside = [name for name in files if name.startswith(f"{folder}/")]
        files = [name for name in files if name not in inside]
        named = _named(words, inside)
        if not any(re.fullmatch("(?:test_)?" + "_".join(words), Path(name).stem) for name in named):
            named += _containing(words, [name for name in inside if name not in named], root)
        if named:
            yield layer, named


def _files(root: Path) -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py", "*.md"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return sorted({name for name in listed.stdout.splitlines() if (root / name).exists()})


def _either_number(word: str) -> str:
    """Return a pattern for the singular and the plural of a word: `key`, `address`, `policy`."""
    singular = re.sub(r"ies$", "y", word)
    singular = re.sub(r"(?<!s)s$|(?<=ss)es$", "", singular)
    return f"{singular[:-1]}(?:y|ies)" if singular.endswith("y") else f"{singular}(?:e?s)?"


def _named(words: list[str], names: list[str]) -> list[str]:
    stem = re.compile("_".join(words))
    return [name for name in names if stem.search(Path(name).stem)]


def _containing(words: list[str], names: list[str], root: Path) -> list[str]:
    joined = r"[\s_-]?".join(words)
    stem = re.compile(rf"(?<![a-z]){joined}(?![a-z])", re.IGNORECASE)
    counts = {name: len(stem.findall((root / name).read_text(encoding="utf-8"))) for name in names}
    most = sorted((name for name in names if counts[name]), key=lambda name: -counts[name])
    return [f"{name} ({counts[name]})" for name in most[:_SHOWN]]


@click.command()
@click.argument("stem")
def main(stem: str) -> None:
    """Print the files of each layer that are named for STEM, or contain it, and how often."""
    found = list(where(stem))
    if not found:
        raise click.ClickException(f"nothing is named {stem}, and nothing contains it")
    for layer, names in found:
        click.echo("\n".join(f"{layer if name is names[0] else '':<13} {name}" for name in names))


if __name__ == "__main__":
    main()
