"""`python -m tools.releases rehearse` and `prove`."""

from tools.releases.command import releases

if __name__ == "__main__":
    releases()
