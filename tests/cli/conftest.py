"""A command line in a directory of its own, with no configuration but what a test gives it."""

import json
import shutil

import pytest
from click.testing import CliRunner

from downhaul.cli.app import cli


class Shell:
    """Runs command lines in this process, on one embedded store."""

    def __init__(self, folder):
        self.folder = folder
        self.runner = CliRunner()

    def __call__(self, *words, exit_code=0, stdin=None, env=None):
        done = self.runner.invoke(cli, [str(word) for word in words], input=stdin, env=env)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == exit_code, f"{words}: {done.exit_code}\n{done.output}"
        return done

    def json(self, *words, exit_code=0, **options):
        """Run with ``--json`` and return the document."""
        return json.loads(self(*words, "--json", exit_code=exit_code, **options).stdout)


@pytest.fixture
def shell(tmp_path, monkeypatch):
    for name in ("DOWNHAUL_URL", "DOWNHAUL_CONTROL_URL", "DOWNHAUL_CONFIG", "DOWNHAUL_KILL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOWNHAUL_ACTOR", "ana")
    monkeypatch.setenv("DOWNHAUL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("DOWNHAUL_KILL_FILE", str(tmp_path / "kill"))
    monkeypatch.chdir(tmp_path)
    return Shell(tmp_path)


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """What commands left in a folder, by a name: they are run once, and copied from then on."""
    made = {}

    def fill(name, shell, run):
        if name in made:
            shutil.copytree(made[name], shell.folder, dirs_exist_ok=True)
            return
        run(shell)
        made[name] = tmp_path_factory.mktemp(name) / "folder"
        shutil.copytree(shell.folder, made[name])

    return fill


@pytest.fixture
def agent(shell, folders):
    """A shell whose store holds one flag at 25 %."""
    words = ("flags", "create", "agent", "--on", "--percent", "25", "--tag", "agents")
    folders("agent", shell, lambda shell: shell(*words))
    return shell
