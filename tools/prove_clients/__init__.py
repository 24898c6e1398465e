"""Runs stock clients and gateways of other projects against the service; `python -m tools.prove_clients`."""
