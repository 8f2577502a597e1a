"""The command line: one file per command group. It parses, calls the control service, and renders.

Nothing is decided here: what a verb does, refuses or warns about is the operator's.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line of this process and exit. The entry point of ``downhaul``."""
    from downhaul.cli.app import cli  # noqa: PLC0415  (click costs what `import downhaul.cli` needn't)

    cli(prog_name="downhaul")
