"""What the documents show of the command line runs as it stands there."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from downhaul.cli.app import cli

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(page):
    """Return the arguments of each `downhaul` line; other programs are not ours to run."""
    found = []
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        for line in block.splitlines():
            if line.startswith("$ downhaul "):
                words = shlex.split(line.removeprefix("$ downhaul "), comments=True)
                found.append(words[: words.index(">")] if ">" in words else words)
    return found


SHOWN = [page for page in PAGES if commands(page)]


@pytest.mark.rule("X2")
@pytest.mark.parametrize("page", SHOWN, ids=lambda page: page.name)
def test_the_lines_of_a_page_run_one_after_the_other(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = CliRunner(
        env={"DOWNHAUL_ACTOR": "ana", "DOWNHAUL_CACHE_DIR": str(tmp_path), "DOWNHAUL_URL": ""}
    )
    assert runner.invoke(cli, ["db", "upgrade"]).exit_code == 0
    for words in commands(page):
        done = runner.invoke(cli, words)
        assert done.exit_code == 0, f"downhaul {shlex.join(words)}\n{done.output}"


def test_the_pages_that_an_operator_reads_show_commands():
    shown = {page.name for page in SHOWN}
    assert shown >= {"README.md", "command-line.md", "kill-switch.md", "native-store.md"}
