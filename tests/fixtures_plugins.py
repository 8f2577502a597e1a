"""Plugins that are installed beside these tests, and are not to be seen by one of them."""

import importlib

import pytest

module = importlib.import_module(
    "downhaul.plugins.registry"
)  # the package has a function of that name


@pytest.fixture
def not_installed(monkeypatch):
    """Return what hides the plugin of a name, as if its distribution were not there."""

    def hide(name):
        seen = [one for one in module.claims() if one.name != name]
        monkeypatch.setattr(module, "claims", lambda path=None: seen)
        module.registry.cache_clear()

    yield hide
    monkeypatch.undo()
    module.registry.cache_clear()
