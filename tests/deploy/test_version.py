"""`service/__init__.py` has the version; whatever else names it follows."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from service import __version__

ROOT = Path(__file__).parents[2]
MANIFESTS = [path for path in sorted((ROOT / "deploy/kubernetes").glob("*.yaml")) if path.stem != "network"]


def test_read_version_of_the_project_is_left_to_the_code() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" in project["dynamic"]
    assert "ARG VERSION=unknown\n" in (ROOT / "Containerfile").read_text()


def test_read_version_of_the_test_kit_is_that_of_the_service() -> None:
    assert tomllib.loads((ROOT / "testkit/pyproject.toml").read_text())["project"]["version"] == __version__


def test_read_version_of_the_api_document_is_that_of_the_service() -> None:
    assert json.loads((ROOT / "docs/openapi.json").read_text())["info"]["version"] == __version__


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_read_image_of_a_manifest_is_that_of_the_version(path: Path) -> None:
    assert set(re.findall(r"image: rollcall:(\S+)", path.read_text())) == {__version__}


def test_read_changelog_tells_of_the_version_or_of_what_is_not_released() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased" or headings[0] == __version__
