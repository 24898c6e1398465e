"""`python -m tools.rehearsal`."""

from tools.rehearsal.command import rehearse

if __name__ == "__main__":
    rehearse()
