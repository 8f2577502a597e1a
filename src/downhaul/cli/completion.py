"""``completion``: the script that makes a shell complete this command line."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from downhaul.cli.commands import command
from downhaul.cli.session import Session

_VARIABLE = "_DOWNHAUL_COMPLETE"


@command("completion", example='eval "$(downhaul completion bash)"')
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(session: Session, shell: str) -> None:
    """Print the completion script of a shell.

    For bash and zsh, put `eval "$(downhaul completion bash)"` (or zsh) into ~/.bashrc or ~/.zshrc.
    For fish: `downhaul completion fish > ~/.config/fish/completions/downhaul.fish`.
    """
    maker = get_completion_class(shell)
    if maker is None:  # pragma: no cover  (the choices are click's own)
        message = f"no completion for {shell}"
        raise click.UsageError(message)
    root = click.get_current_context().find_root().command
    script = maker(root, {}, "downhaul", _VARIABLE).source()
    if session.as_json:
        session.out.json({"shell": shell, "script": script})
        return
    session.out.line(script)
