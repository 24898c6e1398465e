"""Write or check the documents that are generated from the code."""

from pathlib import Path

import click
import msgspec

from service.api.openapi.document import document
from service.api.openapi.problems_page import problems_markdown
from service.app import create_app
from service.cli.console import print_status
from settings import Settings
from settings.login import LoginSettings
from tools.settings_page import env_example, settings_markdown

ROOT = Path(__file__).resolve().parents[1]


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; fail when a document is not current.")
def documents(check: bool) -> None:
    """Write docs/openapi.json, docs/problems.md, docs/settings.md and .env.example."""
    texts = generated_documents()
    stale = [
        path for path, text in texts.items() if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
    if check and stale:
        raise click.ClickException(f"Not current: {names}. Run: make documents")
    for path in stale:
        path.write_text(texts[path], encoding="utf-8")
    print_status(f"Written: {names}." if stale else "All documents are current.")


def generated_documents() -> dict[Path, str]:
    """Return what each generated document has to contain."""
    settings = Settings(login=LoginSettings(by_code=True))  # everything that can be served
    app = create_app(settings, dsn="postgresql://nobody@localhost/nothing")
    openapi = msgspec.json.format(msgspec.json.encode(document(app.operations)), indent=2).decode()
    return {
        ROOT / "docs/openapi.json": f"{openapi}\n",
        ROOT / "docs/problems.md": problems_markdown(),
        ROOT / "docs/settings.md": settings_markdown(),
        ROOT / ".env.example": env_example(),
    }


if __name__ == "__main__":
    documents()
