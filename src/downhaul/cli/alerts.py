"""``alerts list`` and ``alerts test``: who is told of kills and rollouts, and whether it works."""

from __future__ import annotations

import click

from downhaul.cli.commands import command
from downhaul.cli.exits import CheckFailed
from downhaul.cli.session import Session


@command("alerts list", example="downhaul alerts list")
def list_alerts(session: Session) -> None:
    """List the sinks, what each hears of, and what is wrong with it. Contacts nobody."""
    from downhaul.control.trying import listed  # noqa: PLC0415  (pydantic)

    settings = session.settings()
    found = listed(settings)
    if session.as_json:
        rows = [
            {
                "name": one.name,
                "kind": one.kind,
                "severity": one.severity.value,
                "only": list(one.only),
                "environments": list(one.environments),
                "problem": one.problem,
            }
            for one in found
        ]
        session.out.json({"environment": settings.environment, "sinks": rows})
        return
    session.out.table(
        ["sink", "kind", "from", "only", "environments", "status"],
        [
            [
                one.name,
                one.kind,
                one.severity.value,
                ", ".join(one.only) or "all",
                ", ".join(one.environments) or "all",
                one.problem or "ok",
            ]
            for one in found
        ],
    )


@command("alerts test", example="downhaul alerts test --sink slack", silent=True)
@click.option("--sink", metavar="NAME", help="This one alone, instead of all of them.")
def test_alerts(session: Session, sink: str | None) -> None:
    """Send a test message to each sink, whatever it hears of, and say which took it.

    Exit code 3 says that one did not.
    """
    from downhaul.control.service import who  # noqa: PLC0415  (as above)
    from downhaul.control.trying import try_out  # noqa: PLC0415  (as above)

    tried = try_out(session.settings(), who(session.actor)[0], sink)
    failed = [one.sink for one in tried if one.error is not None]
    if session.as_json:
        rows = [
            {
                "name": one.sink,
                "kind": one.kind,
                "took": one.error is None,
                "ms": None if one.took is None else round(one.took * 1000, 1),
                "error": one.error,
            }
            for one in tried
        ]
        session.out.json({"ok": not failed, "sinks": rows})
    else:
        session.out.table(
            ["sink", "kind", "took it", "why not"],
            [
                [
                    one.sink,
                    one.kind,
                    "no" if one.took is None else f"in {one.took * 1000:.0f} ms",
                    one.error or "",
                ]
                for one in tried
            ],
        )
    if failed:
        message = f"not told: {', '.join(failed)}"
        raise CheckFailed(message)
