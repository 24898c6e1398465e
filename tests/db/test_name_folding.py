"""Names are found in any case, alike in every database."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import chain
from unicodedata import normalize

import pytest
import pytest_asyncio

from service.db.migrations.running import upgrade
from tests.migrations.rows import execute, fetch
from tests.support.api import Api, serving
from tests.support.databases import Databases
from tests.support.settings import settings_for_tests

LOCALES = ("LOCALE_PROVIDER libc LOCALE 'C'", "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'")
NAMES = (
    "İstanbul Kız",
    "ISPARTA",
    "ısırgan",
    "Anna Straße",
    "ANNA STRASSE",
    "ΟΔΥΣΣΕΥΣ",
    "Οδυσσευς",
    "Élodie",
    "ÇELİK",
    "Łukasz",
    "Ёлкин",
    "Ärzte",
    "Արմեն",
    "山田太郎",
)
FOUND = {
    "istanbul kIZ": {"İstanbul Kız"},
    "İSTANBUL": {"İstanbul Kız"},
    "is": {"İstanbul Kız", "ISPARTA", "ısırgan"},
    "anna strasse": {"Anna Straße", "ANNA STRASSE"},
    "ANNA STRAẞE": {"Anna Straße", "ANNA STRASSE"},
    "anna straß": {"Anna Straße", "ANNA STRASSE"},
    "οδυς": {"ΟΔΥΣΣΕΥΣ", "Οδυσσευς"},
    "ΟΔΥΣΣΕΥΣ": {"ΟΔΥΣΣΕΥΣ", "Οδυσσευς"},
    "éLO": {"Élodie"},
    "elo": set(),
    "çelik": {"ÇELİK"},
    "łUK": {"Łukasz"},
    "ёл": {"Ёлкин"},
    "äRZ": {"Ärzte"},
    "ԱՐՄ": {"Արմեն"},
    "山": {"山田太郎"},
    "%": set(),
}


@pytest_asyncio.fixture(scope="module")
async def of_locales(databases: Databases) -> AsyncIterator[dict[str, str]]:
    """A migrated database of each locale; one folds ASCII alone, the other in its own way."""
    async with AsyncExitStack() as stack:
        made = {}
        for locale in LOCALES:
            options = f"TEMPLATE template0 ENCODING 'UTF8' {locale}"
            made[locale] = await stack.enter_async_context(databases.created(options))
            await upgrade(made[locale])
        yield made


@pytest.fixture(params=LOCALES)
def located(request: pytest.FixtureRequest, of_locales: dict[str, str]) -> str:
    return of_locales[request.param]


async def test_search_by_name_finds_the_same_in_any_locale(located: str) -> None:
    async with serving(settings_for_tests(), located) as running, running.client() as client:
        admin = (api := Api(client, running.service)).by(await api.admin())
        for number, name in enumerate(NAMES[1:]):
            await admin.post("/v1/users", {"login_id": f"user-{number}", "name": name})
        await execute(  # as a release writes that knows nothing of folded names
            located, f"INSERT INTO users (id, login_id, name) VALUES (gen_random_uuid(), 'old', '{NAMES[0]}')"
        )
        found = {}
        for prefix in FOUND:
            items = (await admin.get("/v1/users", params={"q": prefix})).json()["items"]
            found[prefix] = {user["name"] for user in items}
    assert found == FOUND


def folded(character: str) -> str:
    """Return what Unicode folds a letter to if that is one letter, or else its small letter."""
    if character in "Iİı":
        return "i"
    if character in "ßẞ":
        return "ss"
    forms = [form for form in (character.casefold(), character.lower()) if len(form) == 1]
    return forms[0] if character.isalpha() and forms else character


async def test_fold_name_folds_every_letter_of_four_scripts_as_unicode_does(located: str) -> None:
    letters = [
        character
        for character in map(chr, chain(range(0x20, 0x590), range(0x1E00, 0x2000), range(0xFF21, 0xFF3B)))
        if normalize("NFC", character) == character  # as names are stored
    ]
    array = ", ".join(str(ord(letter)) for letter in letters)
    assert await fetch(located, f"SELECT array_agg(fold_name(chr(n))) FROM unnest(ARRAY[{array}]) n") == [
        folded(letter) for letter in letters
    ]
