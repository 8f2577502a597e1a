"""``doctor``: everything that a kill depends on, looked at one by one."""

from __future__ import annotations

from downhaul.cli.commands import command
from downhaul.cli.exits import CheckFailed
from downhaul.cli.session import Session


@command("doctor", example="downhaul doctor --url postgresql://db.internal/flags", silent=True)
def doctor(session: Session) -> None:
    """Check everything that a kill depends on, and say what to do about what is wrong.

    The configuration, plugins, the store and its tables, clocks, this machine's last-known copy and
    kill file, and whether changes are told of. Exit code 3 says that something fails.
    """
    from downhaul.control.examination import examine  # noqa: PLC0415  (all of it)

    checks = examine(url=session.url, file=session.config, environment=session.environment)
    failed = [one for one in checks if one.status == "fail"]
    if session.as_json:
        session.out.json(
            {
                "ok": not failed,
                "checks": [
                    {
                        "name": one.name,
                        "status": one.status,
                        "message": one.message,
                        "hint": one.hint,
                    }
                    for one in checks
                ],
            }
        )
    else:
        session.out.table(
            ["check", "status", "found"],
            [
                [one.name, one.status, f"{one.message}{f' ({one.hint})' if one.hint else ''}"]
                for one in checks
            ],
        )
    if failed:
        names = ", ".join(one.name for one in failed)
        message = f"what fails: {names}"
        raise CheckFailed(message)
