"""What the distributions of this repository promise to one another."""

import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PROJECTS = [
    ROOT,
    *sorted(path.parent for path in ROOT.glob("providers/*/pyproject.toml")),
    *sorted(path.parent for path in ROOT.glob("contract_tests/*/pyproject.toml")),
]


def project(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text())["project"]


VERSION = project(ROOT)["version"]


@pytest.fixture(params=PROJECTS, ids=lambda folder: project(folder)["name"])
def folder(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_every_distribution_has_the_one_version(folder: Path) -> None:
    assert project(folder)["version"] == VERSION
    assert metadata.version(project(folder)["name"]) == VERSION


def test_bounds_between_members_admit_this_minor_version_and_no_other(folder: Path) -> None:
    table = project(folder)
    optional = table.get("optional-dependencies", {}).values()
    requirements = map(
        Requirement, [*table["dependencies"], *(line for e in optional for line in e)]
    )
    this = Version(VERSION)
    for requirement in requirements:
        if requirement.name.startswith("downhaul"):
            assert f"{this.major}.{this.minor}.99" in requirement.specifier
            assert f"{this.major}.{this.minor + 1}" not in requirement.specifier
            assert f"{this.major}.{this.minor}.0" in requirement.specifier


def test_every_distribution_ships_its_types_and_its_licence(folder: Path) -> None:
    (package,) = (path for path in (folder / "src").iterdir() if (path / "__init__.py").exists())
    assert (package / "py.typed").exists()
    assert (folder / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_the_demo_can_be_installed_from_a_checkout_that_no_index_knows() -> None:
    demo = map(Requirement, project(ROOT)["optional-dependencies"]["demo"])
    assert not [requirement for requirement in demo if requirement.name.startswith("downhaul")]
