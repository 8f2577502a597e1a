"""A folder of code to scan."""

from textwrap import dedent

import pytest

from downhaul.migrate.code import find_references


@pytest.fixture
def scan(tmp_path):
    """Write one module, or files by their paths, and return what is found in them."""

    def scanned(code, aliases=()):
        for path, text in ({"main.py": code} if isinstance(code, str) else code).items():
            place = tmp_path / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(dedent(text))
        return find_references(tmp_path, aliases=aliases)

    return scanned


@pytest.fixture
def one(scan):
    """Return the one reference that there is."""

    def only(code):
        found = scan(code)
        assert not found.problems
        (reference,) = found
        return reference

    return only
