"""The page on plugins names every hook, and every field of a spec."""

import dataclasses
from pathlib import Path

import pytest

from downhaul import hookspecs

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text()
HOOKS = [name for name in vars(hookspecs) if name.startswith("downhaul_")]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_on_the_page(hook):
    assert hook in PAGE


@pytest.mark.parametrize("field", [one.name for one in dataclasses.fields(hookspecs.ProviderSpec)])
def test_every_field_of_a_spec_is_on_the_page(field):
    assert f"| `{field}` |" in PAGE
