"""``config show|check``: what holds, where it came from, and what is wrong with it."""

from __future__ import annotations

import json
from typing import Any

from downhaul.cli.commands import command
from downhaul.cli.exits import CheckFailed
from downhaul.cli.session import Session
from downhaul.errors import Problem


@command("config show", example="downhaul config show")
def show(session: Session) -> None:
    """Show every setting and where it came from: file and line, environment, or argument.

    Secrets are not shown.
    """
    from downhaul.config import show as rows_of  # noqa: PLC0415  (pydantic)

    settings = session.settings()
    rows = rows_of(settings)
    if session.as_json:
        session.out.json(
            {
                "settings": [
                    {"path": row.path, "value": row.value, "origin": row.origin} for row in rows
                ],
                "notes": list(settings.notes),
            }
        )
        return
    session.out.table(
        ["setting", "value", "from"], [[row.path, _shown(row.value), row.origin] for row in rows]
    )
    for note in settings.notes:
        session.out.note(note)


@command("config check", example="downhaul config check --config /etc/downhaul.toml")
def check(session: Session) -> None:
    """Name every problem of the configuration at once, with file, line, and what to do.

    Nothing is contacted. Exit code 3 says that something is wrong.
    """
    problems = _problems(session)
    if session.as_json:
        session.out.json({"ok": not problems, "problems": [_data(one) for one in problems]})
    else:
        for problem in problems:
            session.out.line(str(problem))
    if problems:
        count = len(problems)
        message = f"{count} {'problem' if count == 1 else 'problems'} in the configuration"
        raise CheckFailed(message)
    if not session.as_json:
        session.out.note("the configuration is fine")


def _problems(session: Session) -> list[Problem]:
    from downhaul.config import check as problems_of  # noqa: PLC0415  (pydantic)

    return problems_of(session.url, file=session.config, environment=session.environment)


def _data(problem: Problem) -> dict[str, Any]:
    return {
        "path": problem.path,
        "message": problem.message,
        "origin": problem.origin,
        "hint": problem.hint,
    }


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
