"""A folder with nothing above it that could configure anything, and an environment of nothing."""

from __future__ import annotations

from textwrap import dedent

import pytest

from downhaul import config


class Place:
    """A folder to resolve in: what is written there, and in the environment, is all there is."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.environ = {"HOME": str(folder / "home")}

    def write(self, text, name="downhaul.toml"):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip())
        return path

    def resolve(self, given=None, **keywords):
        return config.resolve(
            given, **{"environ": self.environ, "directory": self.folder, **keywords}
        )

    def check(self, given=None, **keywords):
        return config.check(
            given, **{"environ": self.environ, "directory": self.folder, **keywords}
        )


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)
