"""Check settings, machine, mail and database, and print remedies."""

import asyncio

import click

from service.cli.doctor.database import check_database
from service.cli.doctor.findings import Level, problem
from service.cli.doctor.mail import check_mail
from service.cli.doctor.process import check_machine, check_settings
from service.cli.output import json_option, show_json, show_table
from service.embedded.binaries import EmbeddedUnavailable
from service.services import run_command
from settings import get_settings


@click.command()
@json_option
def doctor(is_json: bool) -> None:
    """Check settings, machine, mail, database and schema; change nothing.

    The exit status is 1 if there is a problem, and 0 if there are only warnings.
    """
    settings = get_settings()
    findings = [*check_settings(settings), *check_machine(settings), *asyncio.run(check_mail(settings))]
    try:
        findings += run_command(check_database)
    except EmbeddedUnavailable as error:
        findings.append(problem("connection", settings.database.masked_dsn, str(error)))
    if is_json:
        show_json(*findings)
    else:
        show_table(("", "check", "seen", "cure"), [(f.level, f.check, f.seen, f.cure) for f in findings])
    if any(finding.level is Level.PROBLEM for finding in findings):
        raise click.exceptions.Exit(1)
