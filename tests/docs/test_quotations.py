"""What a page quotes from a file stands there, word for word."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
QUOTED = re.compile(r"^<!-- from (\S+) -->\n```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
OPENED = re.compile(r"^<!-- from ", re.MULTILINE)
PAGES = [page for page in sorted(ROOT.glob("docs/*.md")) if OPENED.search(page.read_text("utf-8"))]


def missing(text, quoted):
    """Return the parts of a quotation that do not stand in a text, one below the other.

    A line of three dots leaves something out.
    """
    absent, at = [], 0
    for part in re.split(r"^ *\.\.\.\n", quoted, flags=re.MULTILINE):
        found = text.find(part, at)
        if found < 0:
            absent.append(part)
        else:
            at = found + len(part)
    return absent


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_quotation_stands_in_its_file(page):
    text = page.read_text(encoding="utf-8")
    quotations = QUOTED.findall(text)
    assert len(quotations) == len(OPENED.findall(text)), "a quotation is not followed by its block"
    for path, quoted in quotations:
        absent = missing((ROOT / path).read_text(encoding="utf-8"), quoted)
        assert not absent, f"{path} does not have:\n{absent[0]}"


def test_the_page_that_walks_through_a_provider_quotes_it():
    assert "write-a-provider.md" in {page.name for page in PAGES}


def test_parts_count_in_their_order():
    assert missing("one\ntwo\nthree\n", "one\n...\nthree\n") == []
    assert missing("one\ntwo\nthree\n", "three\n...\none\n") == ["one\n"]
    assert missing("one\n", "two\n") == ["two\n"]
