"""Every command explains itself, is documented, and costs nothing before it's called."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from downhaul.cli.app import cli
from downhaul.cli.commands import COMMON, Command, LazyGroup
from downhaul.cli.exits import Exit
from downhaul.cli.shapes import commands as shaped

PAGE = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text(encoding="utf-8")


def tree(group, path=()):
    context = click.Context(group)
    for name in group.list_commands(context):
        member = group.get_command(context, name)
        yield (*path, name), member
        if isinstance(member, LazyGroup):
            yield from tree(member, (*path, name))


EVERYTHING = list(tree(cli))
COMMANDS = [(" ".join(path), one) for path, one in EVERYTHING if isinstance(one, Command)]


def section(name):
    found = re.search(rf"^### {re.escape(name)}\n(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found, f"docs/command-line.md has no section on {name}"
    return found[1]


def test_the_commands_are_all_there():
    assert set(shaped()) | {"demo"} == {name for name, _ in COMMANDS}


@pytest.mark.parametrize("path, member", EVERYTHING, ids=lambda one: str(one) if one else "")
def test_every_help_has_an_example_that_is_this_command(path, member):
    done = CliRunner().invoke(cli, [*path, "--help"])
    assert done.exit_code == 0
    assert "Example:" in done.output
    if isinstance(member, Command):
        assert f"downhaul {' '.join(path)}" in done.output


@pytest.mark.parametrize("name, member", COMMANDS, ids=[name for name, _ in COMMANDS])
def test_every_command_and_option_is_documented(name, member):
    text = section(name)
    for parameter in member.params:
        if isinstance(parameter, click.Option) and parameter.name not in COMMON:
            for option in [*parameter.opts, *parameter.secondary_opts]:
                assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", text), option


def test_the_common_options_are_documented_and_on_every_command():
    for _, member in COMMANDS:
        assert set(COMMON) <= {one.name for one in member.params}
    for option in Command("x", params=cli.params).params:
        if isinstance(option, click.Option) and option.name in COMMON:
            assert all(f"`{text}" in PAGE for text in option.opts)


def test_every_exit_code_is_documented():
    for code in Exit:
        assert re.search(rf"^\| {int(code)} \| ", PAGE, re.MULTILINE), code


def test_the_line_in_the_list_is_what_the_help_begins_with():
    for path, member in EVERYTHING:
        group = cli
        for name in path[:-1]:
            group = group.get_command(click.Context(group), name)
        line = group.members[path[-1]][1]
        assert line.endswith(".")
        assert member.help


@pytest.mark.parametrize(
    "words, hint", [(["flags", "lst"], "list"), (["kil"], "kill"), (["segment"], "segments")]
)
def test_a_slip_of_the_hand_is_a_usage_error_with_what_may_have_been_meant(words, hint):
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == Exit.USAGE
    assert f'did you mean "{hint}"' in done.output


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from downhaul.cli.app import cli\n"
        "cli(['--help'], standalone_mode=False)\n"
        "heavy = 'rich pydantic sqlalchemy alembic pluggy yaml asyncio psycopg'.split()\n"
        "print([one for one in heavy if one in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_there_for_every_shell(shell):
    done = CliRunner().invoke(cli, ["completion", shell])
    assert done.exit_code == 0
    assert "_DOWNHAUL_COMPLETE" in done.output


def test_a_shell_completes_commands_and_options():
    env = {
        "_DOWNHAUL_COMPLETE": "bash_complete",
        "COMP_WORDS": "downhaul flags per",
        "COMP_CWORD": "2",
    }
    done = CliRunner().invoke(cli, [], prog_name="downhaul", env=env)
    assert "percent" in done.output
