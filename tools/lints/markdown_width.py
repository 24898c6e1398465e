"""Find Markdown lines over 100 columns; `python -m tools.lints.markdown_width`.

Tables, code and headings may be wider, and so may a line that is a single word, such as a link.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WIDTH = 100
GENERATED = {"docs/settings.md", "docs/problems.md", "bench/results/results.md"}
_FENCE = re.compile(r"\s*(```|~~~)")
_MAY_BE_WIDE = re.compile(r"\s*(?:[|#]|(?:[-*] |\d+\. )?\S+$)")


def long_lines(text: str) -> Iterator[int]:
    """Yield the numbers of lines that are too long and could be broken."""
    in_code = False
    for number, line in enumerate(text.splitlines(), start=1):
        if _FENCE.match(line):
            in_code = not in_code
        elif len(line) > WIDTH and not in_code and not _MAY_BE_WIDE.match(line):
            yield number


def main() -> int:
    """Print each line that is too long, and return 1 if there is one."""
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    names = [name for name in listed.stdout.splitlines() if name not in GENERATED]
    found = [
        f"{name}:{number}"
        for name in names
        for number in long_lines((ROOT / name).read_text(encoding="utf-8"))
    ]
    for place in found:
        print(f"{place} is over {WIDTH} columns")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
