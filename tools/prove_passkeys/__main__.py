"""`python -m tools.prove_passkeys`."""

from tools.prove_passkeys.command import prove_passkeys

if __name__ == "__main__":
    prove_passkeys()
