"""The requests in docs/api.md are answered as the page says."""

import json
import re
from pathlib import Path

import httpx

from service.domain.keys import Scope
from tests.support.api import PASSWORD, Api

PAGE = (Path(__file__).resolve().parents[2] / "docs/api.md").read_text()
EXAMPLE = re.compile(r"```http\n(?P<request>.*?)```\nAnswer: `(?P<status>\d+)[^`]*`", re.DOTALL)
SHOWN = re.compile(r"```json\n(.*?)```", re.DOTALL)


async def send(api: Api, text: str, values: dict[str, str]) -> httpx.Response:
    for name, value in values.items():
        text = text.replace(f"{{{{{name}}}}}", value)
    assert "{{" not in text
    head, _, body = text.strip("\n").partition("\n\n")
    (method, path), *fields = [line.split(" ", 1) for line in head.split("\n")]
    headers = {name.rstrip(":"): value for name, value in fields}
    return await api.request(method, path, headers=headers, content=body.encode())


def learn(values: dict[str, str], answer: httpx.Response) -> None:
    """Keep what later requests of the page need."""
    if answer.status_code == 201 and "token" in answer.json():
        values["token"] = answer.json()["token"]
    elif answer.status_code == 201:
        values |= {"id": answer.json()["id"], "etag": answer.headers["ETag"]}


async def test_examples_of_the_page_respond_as_it_says(api: Api) -> None:
    await api.admin()
    values = {"password": PASSWORD, "key": await api.key(Scope.SESSIONS_INTROSPECT)}
    examples = list(EXAMPLE.finditer(PAGE))
    assert len(examples) == PAGE.count("```http") > 8

    compared = 0
    for example in examples:
        answer = await send(api, example["request"], values)
        assert answer.status_code == int(example["status"]), example["request"]
        learn(values, answer)
        if shown := SHOWN.match(PAGE, example.end() + 1):
            assert {**answer.json(), "instance": ""} == {**json.loads(shown[1]), "instance": ""}
            compared += 1
    assert compared == PAGE.count("```json")


def test_page_links_to_what_is_there() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        assert (Path(__file__).resolve().parents[2] / "docs" / target).exists(), target
