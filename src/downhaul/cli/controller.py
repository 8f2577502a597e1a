"""``controller run``: the process that moves rollouts, its log, and its end."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from downhaul.announcements.severity import Severity
from downhaul.cli.commands import command
from downhaul.cli.exits import Exit
from downhaul.cli.session import Session
from downhaul.cli.stopping import stopped_by_signals
from downhaul.control.alerts import AlertEvent, LogAlert

if TYPE_CHECKING:
    from downhaul.control import Operator
    from downhaul.rollout.controller import Controller

_LOG: Final = logging.getLogger("downhaul.controller")
_ALL: Final = 1000  # ticks after which `--once` stops all the same
_ONCE: Final = 50.0  # seconds after which it begins no other: cron comes again each minute
_PLAIN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class ToLog:
    """Writes what a controller announces to the log, with its fields beside the message."""

    name = "log"

    def send(self, event: AlertEvent) -> None:
        """Log what happened to which rollout."""
        fields = {name: value for name, value in event.after.items() if name not in _PLAIN}
        said = f"{event.subject}: {event.what.replace('_', ' ')}"
        _LOG.log(
            logging.WARNING if event.severity.reaches(Severity.WARNING) else logging.INFO,
            "%s",
            f"{said}: {event.reason}" if event.reason else said,
            extra={
                **fields,
                "event": event.what,
                "flag": event.subject,
                "actor": event.actor,
                "reason": event.reason,
                "environment": event.environment,
                "severity": event.severity.value,
            },
        )


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, event, message, and whatever the record carries."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a line."""
        body: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", "log"),
            "logger": record.name,
            "message": record.getMessage(),
        }
        body |= {name: value for name, value in extra(record).items() if name not in body}
        if record.exc_info:
            body["traceback"] = self.formatException(record.exc_info)
        return json.dumps(body, ensure_ascii=False, default=str)


class TextLines(logging.Formatter):
    """A line for eyes: time, level, message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a line, and a traceback under it where there is one."""
        line = f"{_time(record)}  {record.levelname.lower().ljust(7)}  {record.getMessage()}"
        rollout = getattr(record, "rollout", "")
        if rollout and rollout not in line:
            line += f"  ({rollout})"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


@command("controller run", example="downhaul controller run --listen 127.0.0.1:9464", silent=True)
@click.option("--once", is_flag=True, help="Move everything that is due, and end: for cron.")
@click.option(
    "--listen", metavar="HOST:PORT", help="Serve /healthz, /readyz and /metrics over HTTP there."
)
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True
)
@click.option(
    "--tick", default="5s", show_default=True, metavar="TIME", help="The time between two looks."
)
@click.option(
    "--lease",
    default="15s",
    show_default=True,
    metavar="TIME",
    help="How long a rollout is held; after a crash, others wait as long.",
)
def run(
    session: Session, once: bool, listen: str | None, log_format: str, tick: str, lease: str
) -> None:
    """Move rollouts until it is told to stop (SIGTERM, Ctrl-C), then give back what it holds.

    Any number may run on one store; each rollout is moved by one at a time. Exposure rises only
    while one runs. With --once, exit code 5 means that something could not be reached.
    """
    from downhaul.rollout.service import controller_for  # noqa: PLC0415  (the engine)

    if once and listen:
        message = "--listen says nothing beside --once"
        raise click.UsageError(message)
    address = None if listen is None else _address(listen)
    seconds, held = _seconds(tick, "--tick"), _seconds(lease, "--lease")
    with _logging(log_format), session.operator() as operator:
        # The log of a controller has fields of its own; all other sinks are the configuration's.
        others = [one for one in operator.alerts if not isinstance(one, LogAlert)]
        controller = controller_for(operator, alerts=(ToLog(), *others), lease=held, tick=seconds)
        _tell_of_sinks(session)
        if once:
            _once(session, operator, controller)
        else:
            _serve(session, controller, address)


def _tell_of_sinks(session: Session) -> None:
    """Log which sinks can't be told from here: rollouts go on all the same."""
    from downhaul.control.trying import listed  # noqa: PLC0415  (Apprise, where a sink needs it)

    for one in listed(session.settings()):
        if one.problem is not None:
            _LOG.error("alert %s can't be told from here: %s", one.name, one.problem)


def _once(session: Session, operator: Operator, controller: Controller) -> None:
    """Look until nothing is due any more, for a minute at most; say what was done."""
    claimed = acted = 0
    errors: list[str] = []
    unreachable = asked = False
    until = time.monotonic() + _ONCE
    for _ in range(_ALL):
        if time.monotonic() > until:
            break  # a backend that hangs makes due again what was just looked at
        report = controller.tick()
        claimed, acted = claimed + report.claimed, acted + report.acted
        errors += [one for one in report.errors if one not in errors]
        unreachable = report.unreachable
        if unreachable:
            break
        if not report.claimed:
            if asked or not controller.ask_hooks():
                break
            asked = True  # what they confirmed is due now
    if not unreachable:
        controller.settle()
        controller.deliver()
        _leave(operator, controller)
    if session.as_json:
        session.out.json(
            {
                "owner": controller.owner,
                "claimed": claimed,
                "acted": acted,
                "errors": errors,
                "unreachable": unreachable,
                "counters": dict(controller.counters()),
            }
        )
    else:
        session.out.line(f"{_counted(claimed, 'look')}, {_counted(acted, 'write')}")
    for one in errors:
        session.out.error(one)
    if errors:
        raise click.exceptions.Exit(int(Exit.UNREACHABLE))


def _serve(session: Session, controller: Controller, address: tuple[str, int] | None) -> None:
    """Run until a signal says stop."""
    stop = threading.Event()
    with stopped_by_signals(stop), _listening(controller, address):
        _say("started", f"controller {controller.owner} looks every {controller.interval:g} s")
        controller.run(stop)
        _say("ended", f"controller {controller.owner} gave back what it held")
    if session.as_json:
        counters = dict(controller.counters())
        session.out.json(
            {
                "owner": controller.owner,
                "claimed": int(counters.get("claimed", 0)),
                "acted": int(counters.get("acted", 0)),
                "errors": [],
                "unreachable": False,
                "counters": counters,
            }
        )


def _counted(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count} {what}s"


def _leave(operator: Operator, controller: Controller) -> None:
    """Take back the heartbeat: one that ends at once will not be there for the next step."""
    from downhaul.store.control import SqlControl  # noqa: PLC0415  (SQLAlchemy)

    control: object = operator.control
    if isinstance(control, SqlControl):
        control.rollouts.leave(controller.owner)


@contextmanager
def _listening(controller: Controller, address: tuple[str, int] | None) -> Iterator[None]:
    if address is None:
        yield
        return
    from downhaul.rollout.serving import Serving  # noqa: PLC0415  (http.server)

    with Serving(controller, *address) as serving:
        _say("listening", f"http://{serving.address}/healthz, /readyz, /metrics")
        yield


@contextmanager
def _logging(log_format: str) -> Iterator[None]:
    """Send what the library logs to stderr, in this format."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if log_format == "json" else TextLines())
    log = logging.getLogger("downhaul")
    level, propagates = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False  # each line once, whatever the root logger does
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagates


def extra(record: logging.LogRecord) -> Mapping[str, Any]:
    """Return what a record carries beside what every record has."""
    return {
        name: value
        for name, value in vars(record).items()
        if name not in _PLAIN and not name.startswith("_")
    }


def _say(event: str, message: str) -> None:
    _LOG.info("%s", message, extra={"event": event})


def _time(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _address(text: str) -> tuple[str, int]:
    """Read ``HOST:PORT``; a host alone has no port, and a port alone no host."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65_535:  # noqa: PLR2004
        message = f"{text!r} is no address: write 127.0.0.1:9464"
        raise click.BadParameter(message, param_hint="--listen")
    return host.strip("[]"), int(port)


def _seconds(text: str, option: str) -> float:
    from downhaul.rollout.units import seconds_of  # noqa: PLC0415

    try:
        seconds = seconds_of(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None
    if seconds <= 0:
        message = "it is to be above nothing"
        raise click.BadParameter(message, param_hint=option)
    return seconds
