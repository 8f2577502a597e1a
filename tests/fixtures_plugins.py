"""Plugins that are installed beside these tests, and are not to be seen by one of them."""

import importlib

import pytest

from downhaul.hookspecs import PROJECT
from downhaul.plugins import shelf

module = importlib.import_module(
    "downhaul.plugins.registry"
)  # the package has a function of that name


@pytest.fixture
def not_installed(monkeypatch):
    """Return what hides the plugin of a name, as if its distribution were not there."""

    def hide(name):
        claims = shelf.claims

        def seen(path=None, group=PROJECT):
            return [one for one in claims(path, group) if one.name != name]

        monkeypatch.setattr(shelf, "claims", seen)
        module.registry.cache_clear()

    yield hide
    monkeypatch.undo()
    module.registry.cache_clear()
