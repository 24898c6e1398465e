"""Commands for the keys that sign access tokens."""

from datetime import datetime

import click

from service.api.schemas.common import timestamp, timestamp_or_none
from service.cli.operator import require_cipher, run_transaction
from service.cli.output import json_option, show, show_listing
from service.domain.signing import SigningKey
from service.policies import signature_algorithm
from service.services import run_command
from service.usecases.signing_keys import replace_all, rotate

_COLUMNS = ("id", "algorithm", "signs from", "published until")


@click.group("signing-keys")
def signing_keys() -> None:
    """Manage the keys that sign access tokens."""


@signing_keys.command("list")
@json_option
def list_(is_json: bool) -> None:
    """List the published keys, in the order in which they sign."""
    keys = run_command(lambda services: services.reads.signing_keys.list_published())
    show_listing(keys, _COLUMNS, _row, _view_of, is_json=is_json)


@signing_keys.command("rotate")
@click.option("--compromised", is_flag=True, help="Delete the other keys; the new one signs at once.")
@json_option
def rotate_command(compromised: bool, is_json: bool) -> None:
    """Add a key. It is published now and signs an hour later, when verifiers know it."""
    work = replace_all if compromised else rotate
    key = run_transaction(
        lambda services, tx: work(
            tx, cipher=require_cipher(services), algorithm=signature_algorithm(services.settings)
        )
    )
    show(_view_of(key), f"Key {key.id} signs from {_format_time(key.signs_from)}.", is_json=is_json)


def _view_of(key: SigningKey) -> dict[str, object]:
    return {
        "id": str(key.id),
        "algorithm": key.algorithm.value,
        "signs_from": timestamp(key.signs_from),
        "ends_at": timestamp_or_none(key.ends_at),
    }


def _row(key: SigningKey) -> tuple[str, ...]:
    ends = _format_time(key.ends_at) if key.ends_at is not None else ""
    return str(key.id), key.algorithm.value, _format_time(key.signs_from), ends


def _format_time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
