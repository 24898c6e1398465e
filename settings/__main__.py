"""`python -m settings docs [--check]`: writes the documents made from the settings, or checks them."""

import sys
from argparse import ArgumentParser

from settings.documents import stale_documents, write_documents
from settings.values import ROOT


def main() -> int:
    """Write or check the documents; give the exit status: 0 done or current, 1 stale, 2 wrong usage."""
    parser = ArgumentParser(prog="python -m settings")
    parser.add_argument("command", choices=["docs"], help="write docs/settings.md and .env.example")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when they are not current")
    if not parser.parse_args().check:
        write_documents()
        return 0
    stale = [path.relative_to(ROOT).as_posix() for path in stale_documents()]
    if stale:
        sys.stderr.write(f"Not in step with settings/: {', '.join(stale)}; run `python -m settings docs`.\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
