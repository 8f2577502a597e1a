"""Plugins as they are installed: a folder on the path, with a module and its ``dist-info``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from downhaul.plugins import Registry

_PLUGIN = """
    from downhaul.hookspecs import ProviderSpec, hookimpl

    @hookimpl
    def downhaul_providers():
        return [{specs}]
"""


class Site:
    """A folder of installed distributions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.modules: list[str] = []

    def install(
        self, distribution, name, source, *, version="1.0", metadata=None, entry_points=None
    ):
        """Install one distribution with one module, whose name is made from the distribution's."""
        module = f"{distribution.replace('-', '_')}_plugin"
        self.modules.append(module)
        (self.folder / f"{module}.py").write_text(dedent(source))
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        if metadata is None:
            metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        (info / "METADATA").write_text(metadata)
        text = entry_points or f"[downhaul]\n{name} = {module}\n"
        (info / "entry_points.txt").write_text(text)

    def install_provider(self, distribution, name, *schemes, version="1.0", **spec):
        """Install a plugin with one spec; ``spec`` are further fields, as Python source."""
        fields = {"factory": "'acme:create'", **spec}
        more = ", ".join(f"{field}={value}" for field, value in fields.items())
        specs = f"ProviderSpec(name={name!r}, schemes={tuple(schemes or [name])!r}, {more})"
        self.install(distribution, name, _PLUGIN.format(specs=specs), version=version)

    def registry(self, **environ):
        return Registry(environ, [str(self.folder)])

    def run(self, code, **environ):
        """Run code in a process of its own that has these distributions; return its output."""
        path = os.pathsep.join([str(self.folder), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", dedent(code)],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": path, **environ},
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    made = Site(folder)
    yield made
    for module in made.modules:
        sys.modules.pop(module, None)
