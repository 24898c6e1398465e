"""`python -m settings docs [--check]`: write the generated documents, or check them."""

import sys
from argparse import ArgumentParser

from settings.documents import stale_documents, write_documents
from settings.values import ROOT


def main() -> int:
    """Write or check the documents; return 0 if done or current, 1 if stale, 2 on wrong usage."""
    parser = ArgumentParser(prog="python -m settings")
    parser.add_argument("command", choices=["docs"], help="write docs/settings.md and .env.example")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if they are out of date")
    if not parser.parse_args().check:
        write_documents()
        return 0
    stale = [path.relative_to(ROOT).as_posix() for path in stale_documents()]
    if stale:
        sys.stderr.write(f"Out of date: {', '.join(stale)}; run `python -m settings docs`.\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
