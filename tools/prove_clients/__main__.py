"""`python -m tools.prove_clients`."""

from tools.prove_clients.command import prove_clients

if __name__ == "__main__":
    prove_clients()
