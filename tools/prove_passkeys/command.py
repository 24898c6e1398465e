"""The command that starts service, pages and browser, and takes the steps."""

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click
from rich.console import Console

from harness.service_process import ROOT, ServiceProcess, service_process
from tools.prove_passkeys.devtools import BrowserFailed, browser
from tools.prove_passkeys.page import Authenticator, Page
from tools.prove_passkeys.pages import copy_example, pages
from tools.prove_passkeys.scenario import STEPS, Stage, StepFailed

WORK: Final = ROOT / "var/prove-passkeys"
_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")
_OPTIONS: Final = (
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
    "--window-size=900,1000",
)
_KEY: Final = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
"""Encrypts the secrets of one run."""


@click.command("prove-passkeys")
def prove_passkeys() -> None:
    """Register and log in with passkeys in Chromium, on the pages of examples/browser.

    Pictures are under var/prove-passkeys. The variable CHROMIUM names a browser that is not on the path.
    """
    console = Console() if sys.stdout.isatty() else Console(width=120)
    WORK.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as directory, _stage(Path(directory), chromium()) as stage:
        for step in STEPS:
            began = time.monotonic()
            try:
                step(stage)
            except (BrowserFailed, StepFailed) as error:
                stage.picture("failed")
                raise click.ClickException(f"{step.__doc__}\n  {error}") from error
            console.print(f"ok {time.monotonic() - began:5.1f} s  {step.__doc__}", highlight=False)
    console.print(f"Pictures are in {WORK.relative_to(ROOT)}.")


def chromium() -> str:
    """Return the path of the browser.

    Raises: click.ClickException without one.
    """
    named = os.environ.get("CHROMIUM")
    candidates = (named,) if named else _NAMES
    if (found := next(filter(None, map(shutil.which, candidates)), None)) is None:
        missing = f"CHROMIUM={named} is no program." if named else "This proof needs Chromium."
        raise click.ClickException(f"{missing} Debian, Ubuntu: apt install chromium; or name it in CHROMIUM.")
    return found


@contextmanager
def _stage(directory: Path, executable: str) -> Iterator[Stage]:
    """Start the pages, the service that they call, and the browser that shows them."""
    site = directory / "site"
    site.mkdir()
    with pages(site) as origin, _service(directory, origin) as service:
        copy_example(site, service.url)
        with browser(executable, directory / "profile", WORK / "chromium.log", *_OPTIONS) as pipe:
            page = Page(pipe)
            laptop, phone = Authenticator(page, "internal"), Authenticator(page, "usb")
            stage = Stage(service, page, f"{origin}/index.html", WORK, laptop, phone)
            stage.start_over()
            yield stage


def _service(directory: Path, origin: str) -> AbstractContextManager[ServiceProcess]:
    return service_process(
        directory,
        ROLLCALL_REGISTRATION="open",
        ROLLCALL_HTTP__CORS_ORIGINS=origin,
        ROLLCALL_FACTORS__RP_ID="localhost",
        ROLLCALL_FACTORS__ORIGINS=origin,
        ROLLCALL_SECRETS__KEY=_KEY,
    )
