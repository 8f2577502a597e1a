"""The checker of the documents sees what is wrong with them."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SPECIFICATION = """
# Specification

- **E1** One thing. See [below](#which-test).
- **E2** *(planned)* Another thing.

## Which test

<!-- rules: begin -->
<!-- rules: end -->
"""
TESTS = """
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.rule("E1")]

class TestOne:
    @pytest.mark.rule("E9")
    async def test_inner(self): ...

def test_outer(): ...

def helper(): ...
"""


@pytest.fixture(scope="module")
def check():
    spec = importlib.util.spec_from_file_location("docs_check", ROOT / "docs" / "check.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def root(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "docs" / "specification.md").write_text(SPECIFICATION, encoding="utf-8")
    (tmp_path / "docs" / "README.md").write_text("[it](specification.md)", encoding="utf-8")
    (tmp_path / "tests" / "test_one.py").write_text(TESTS, encoding="utf-8")
    return tmp_path


def test_a_test_that_cites_an_unknown_rule_is_named(check, root):
    (problem,) = check.check_rules(root, write=True)
    assert (
        problem
        == "tests/test_one.py:8: test_inner cites rule E9, which there is none of".replace(
            "test_inner", "TestOne::test_inner"
        )
    )


def test_the_table_names_the_tests_of_each_rule_and_is_up_to_date_once_written(check, root):
    page = root / "docs" / "specification.md"
    assert any("out of date" in problem for problem in check.check_rules(root, write=False))
    list(check.check_rules(root, write=True))
    text = page.read_text(encoding="utf-8")
    assert "| E1 | [tests/test_one.py](../tests/test_one.py): " in text
    assert "`TestOne::test_inner`, `test_outer` |" in text
    assert "| E2 | planned |" in text
    assert not any("out of date" in problem for problem in check.check_rules(root, write=False))


def test_a_rule_that_no_test_cites_is_named_unless_it_is_planned(check, root):
    (root / "tests" / "test_one.py").write_text("def test_nothing(): ...", encoding="utf-8")
    problems = list(check.check_rules(root, write=True))
    assert len(problems) == 1
    assert "no test cites rule E1" in problems[0]


def test_a_link_that_leads_nowhere_is_named(check, root):
    assert list(check.check_links(root)) == []
    (root / "docs" / "README.md").write_text(
        "[a](nowhere.md) [b](specification.md#nothing) [c](https://example.com) [d](#no)\n"
        "```\n[e](in-code.md)\n```\n",
        encoding="utf-8",
    )
    problems = list(check.check_links(root))
    assert len(problems) == 3
    assert problems[0] == "docs/README.md: the link to nowhere.md leads nowhere"
    assert problems[1] == "docs/README.md: specification.md has no heading for #nothing"
    assert problems[2] == "docs/README.md: this page has no heading for #no"


def test_a_page_that_the_index_leaves_out_is_named(check, root):
    (root / "docs" / "more.md").write_text("# More", encoding="utf-8")
    assert list(check.check_index(root)) == ["docs/README.md: no link to more.md"]
