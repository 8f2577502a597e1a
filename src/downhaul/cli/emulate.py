"""``emulate``: a vendor's service on this machine, for local development.

The emulators are a distribution of their own, which is imported when somebody runs one.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import click

from downhaul.cli.commands import command
from downhaul.cli.session import Session
from downhaul.cli.stopping import stopped_by_signals, wait_for
from downhaul.errors import DownhaulError

_STOP: Final = 5.0  # seconds
EMULATORS: Final = "downhaul_emulators"
INSTALL: Final = "pip install downhaul-emulators"


@command("emulate", example="downhaul emulate launchdarkly --port 8030 --flags flags.toml")
@click.argument("vendor", metavar="launchdarkly|split")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Where it listens; unsaid, a free one."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address it listens at.")
@click.option(
    "--flags",
    "file",
    type=click.Path(dir_okay=False),
    help="A file of flags to begin with: a flag document, or the vendor's own.",
)
@click.option("--for", "time", metavar="TIME", help="End by itself after so long, as 90s or 10m.")
def emulate(
    session: Session, vendor: str, port: int, host: str, file: str | None, time: str | None
) -> None:
    """Run an emulator of LaunchDarkly or Split until Ctrl-C, and say how to use it.

    It speaks to the vendor's own SDKs and takes what their admin API takes. It is not the vendor:
    docs/emulators.md says what is emulated. What it holds is gone when it ends.
    """
    offered = _offered(vendor)
    seconds = None if time is None else _seconds(time)
    emulator = offered.make(host, port)
    keys = [] if file is None else offered.seed(emulator, Path(file).read_bytes(), file)
    stop = threading.Event()
    with stopped_by_signals(stop):
        try:
            emulator.start()
        except OSError as error:
            raise DownhaulError(
                f"nothing can listen at {host}:{port}: {error.strerror or error}",
                hint="choose another --port, or --port 0 for a free one",
            ) from error
        try:
            _tell(session, offered, emulator, keys)
            wait_for(stop, seconds)
        finally:
            # Ctrl-C ends it, whatever an SDK on the other side does with its connection.
            stopping = threading.Thread(target=emulator.stop, daemon=True)
            stopping.start()
            stopping.join(_STOP)
    session.out.note("ended")


def _offered(vendor: str) -> Any:
    """Return what is offered of a vendor. Raises DownhaulError where it is not there."""
    if find_spec(EMULATORS) is None:
        raise DownhaulError("the emulators are not installed", hint=INSTALL)
    # By name, because the core knows no emulator.
    every: Mapping[str, Any] = import_module(f"{EMULATORS}.offered").OFFERED
    if vendor not in every:
        raise DownhaulError(
            f'no emulator is called "{vendor}"', hint=f"there are {', '.join(sorted(every))}"
        )
    return every[vendor]


def _tell(session: Session, offered: Any, emulator: Any, keys: list[str]) -> None:
    """Say where it is, with which keys, and what to write into a configuration."""
    facts, settings = offered.facts_of(emulator), offered.settings_of(emulator)
    if session.as_json:
        session.out.json_line(
            {"vendor": offered.vendor, "facts": facts, "settings": settings, "flags": keys}
        )
        return
    out = session.out
    out.line(f"{offered.vendor}, emulated, until Ctrl-C. It is not the vendor's service.")
    out.line()
    out.fields([*facts.items(), ("flags", ", ".join(keys) or "none yet")])
    out.line()
    out.line("# downhaul.toml")
    out.line("[provider]")
    for name, value in settings.items():
        out.line(f'{name} = "{value}"')
    out.line()
    out.line("[control]  # the vendor keeps no kills")
    out.line('url = "sqlite:///kills.db"')


def _seconds(text: str) -> float:
    from downhaul.rollout.units import seconds_of  # noqa: PLC0415

    try:
        return seconds_of(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--for") from None
