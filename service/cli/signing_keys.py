"""Commands for the keys that sign access tokens."""

from datetime import datetime
from functools import partial

import click

from service.api.schemas.common import timestamp
from service.cli.console import print_result
from service.cli.encryption import require_cipher
from service.cli.output import json_option, show_json, show_table
from service.domain.callers import OPERATOR
from service.domain.signing import SigningKey
from service.policies import signature_algorithm
from service.services import Services, run_command
from service.usecases.signing_keys import replace_all, rotate

_COLUMNS = ("id", "algorithm", "signs from", "published until")


@click.group("signing-keys")
def signing_keys() -> None:
    """Manage the keys that sign access tokens."""


@signing_keys.command("list")
@json_option
def list_(is_json: bool) -> None:
    """List the published keys, in the order in which they sign."""
    _show(run_command(lambda services: services.reads.signing_keys.list_published()), is_json=is_json)


@signing_keys.command("rotate")
@click.option("--compromised", is_flag=True, help="Delete the other keys; the new one signs at once.")
@json_option
def rotate_command(compromised: bool, is_json: bool) -> None:
    """Add a key. It is published now and signs an hour later, when verifiers know it."""
    key = run_command(lambda services: _rotate(services, is_compromised=compromised))
    if is_json:
        _show([key], is_json=True)
    else:
        print_result(f"Key {key.id} signs from {_format_time(key.signs_from)}.")


async def _rotate(services: Services, *, is_compromised: bool) -> SigningKey:
    cipher = require_cipher(services)
    work = replace_all if is_compromised else rotate
    algorithm = signature_algorithm(services.settings)
    return await services.database.run(partial(work, cipher=cipher, algorithm=algorithm), caller=OPERATOR)


def _show(keys: list[SigningKey], *, is_json: bool) -> None:
    if is_json:
        show_json(*map(_view_of, keys))
    else:
        show_table(_COLUMNS, [_row(key) for key in keys])


def _view_of(key: SigningKey) -> dict[str, object]:
    return {
        "id": str(key.id),
        "algorithm": key.algorithm.value,
        "signs_from": timestamp(key.signs_from),
        "ends_at": timestamp(key.ends_at) if key.ends_at is not None else None,
    }


def _row(key: SigningKey) -> tuple[str, ...]:
    ends = _format_time(key.ends_at) if key.ends_at is not None else ""
    return str(key.id), key.algorithm.value, _format_time(key.signs_from), ends


def _format_time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
