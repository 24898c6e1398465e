"""The pages of examples/browser, and what `make prove-passkeys` makes of them."""

import re
from html.parser import HTMLParser
from pathlib import Path

import click
import pytest

from harness.service_process import ROOT
from tools.prove_passkeys.command import chromium
from tools.prove_passkeys.pages import EXAMPLE, SERVICE, copy_example
from tools.prove_passkeys.scenario import STEPS

FILES = {file.name: file.read_text(encoding="utf-8") for file in EXAMPLE.iterdir()}
SCRIPTS = "".join(text for name, text in FILES.items() if name.endswith(".js"))


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self.ids: list[str] = []
        self.policy = ""
        self.feed(FILES["index.html"])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        self.addresses += [named[name] for name in ("src", "href") if name in named]
        self.inline += [name for name in named if name.startswith("on") or name == "style"]
        self.ids += [named["id"]] if "id" in named else []
        if named.get("http-equiv") == "Content-Security-Policy":
            self.policy = named["content"]


def test_page_loads_nothing_but_its_own_files() -> None:
    page = Page()
    assert sorted(page.addresses) == ["app.js", "data:,", "style.css"]
    assert page.inline == []
    imported = re.findall(r'from "\./([^"]+)"', SCRIPTS)
    assert {*imported, "app.js", "style.css", "index.html", "README.md"} == set(FILES)


def test_page_allows_its_own_scripts_and_one_service_alone() -> None:
    directives = dict(part.strip().partition(" ")[::2] for part in Page().policy.split(";"))
    assert directives["default-src"] == directives["base-uri"] == directives["form-action"] == "'none'"
    assert directives["script-src"] == directives["style-src"] == "'self'"
    assert directives["connect-src"] == SERVICE
    assert set(re.findall(r"https?://[^\"'`\s;]+", FILES["index.html"] + SCRIPTS)) == {SERVICE}


def test_scripts_make_no_html_or_code_of_text() -> None:
    made = (
        r"\.(?:inner|outer)HTML|insertAdjacentHTML|document\.write|\beval\(|Function\(|setTimeout\(\s*['\"]"
    )
    assert re.findall(made, SCRIPTS) == []
    assert "localStorage" not in SCRIPTS + FILES["index.html"]
    assert "sessionStorage" not in SCRIPTS


def test_scripts_use_elements_that_the_page_has() -> None:
    used = set(re.findall(r"#([a-z-]+)", SCRIPTS)) | set(re.findall(r'show\("([a-z-]+)"\)', SCRIPTS))
    assert used
    assert used <= set(Page().ids)


def test_readme_sets_what_settings_there_are() -> None:
    named = set(re.findall(r"ROLLCALL_\w+", FILES["README.md"]))
    known = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    assert len(named) >= 5
    assert [name for name in named if f"`{name}`" not in known] == []


def test_copy_example_calls_the_service_at_its_address(tmp_path: Path) -> None:
    copy_example(tmp_path, "http://127.0.0.1:4321")
    copied = {file.name: file.read_text(encoding="utf-8") for file in tmp_path.iterdir()}
    assert set(copied) == set(FILES)
    for name in ("index.html", "api.js"):
        assert "http://127.0.0.1:4321" in copied[name]
        assert SERVICE not in copied[name]


def test_chromium_that_is_not_there_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CHROMIUM", raising=False)
    with pytest.raises(click.ClickException, match=r"^This proof needs Chromium\. .*CHROMIUM\.$"):
        chromium()
    monkeypatch.setenv("CHROMIUM", "/nowhere/chromium")
    with pytest.raises(click.ClickException, match=r"^CHROMIUM=/nowhere/chromium is no program"):
        chromium()


def test_chromium_that_the_variable_names_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "mine"
    program.touch(mode=0o755)
    monkeypatch.setenv("CHROMIUM", str(program))
    assert chromium() == str(program)


def test_each_step_says_what_it_shows() -> None:
    told = [step.__doc__ for step in STEPS]
    assert all(told)
    assert len(set(told)) == len(STEPS) == len(set(STEPS))
