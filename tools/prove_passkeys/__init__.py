"""Registers and uses passkeys in a headless Chromium; `python -m tools.prove_passkeys`."""
