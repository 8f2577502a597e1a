"""The demo from start to end: stores, services, story, claims, exit code."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from downhaul.config import resolve
from downhaul.control.results import OnConflict
from downhaul.control.service import connect_operator, databases
from downhaul.demo import imported as documents
from downhaul.demo.claims import claims_of
from downhaul.demo.imported import NOTHING, Imported
from downhaul.demo.report import Show
from downhaul.demo.rollouts import FULL, QUICK, Pace, RolloutStory, agent_flag
from downhaul.demo.stores import missing_for_postgres, postgres_url, sqlite_url
from downhaul.demo.story import BackendReport, demo_flag, tell_story, users_of
from downhaul.demo.traffic import Application
from downhaul.store.schema import upgrade

PROCESSES: Final = 2
_QUICK_USERS: Final = 400
_FAILED: Final = 3  # a check failed, as everywhere in the command line


def run(
    *,
    import_: str | None = None,
    json: bool = False,
    users: int = 2000,
    quick: bool = False,
    sqlite_only: bool = False,
) -> int:
    """Run the demo and return its exit code: 0 if every claim held, 3 if one did not.

    Raises DownhaulError where it can't be run at all.
    """
    show = Show(as_json=json)
    people = users_of(min(users, _QUICK_USERS) if quick else users)
    imported = documents.read(import_, people) if import_ else NOTHING
    missing = missing_for_postgres()
    skipped = None
    if sqlite_only:
        skipped = "as asked for"
    elif missing:
        skipped = f"not installed: {', '.join(missing)} (pip install {' '.join(missing)})"
    pace = QUICK if quick else FULL
    reports = []
    with tempfile.TemporaryDirectory(prefix="downhaul-demo-") as name:
        folder = Path(name)
        reports.append(
            _backend("SQLite", lambda: sqlite_url(folder), folder, people, imported, pace, show)
        )
        if skipped is None:
            show.note("\nstarting a PostgreSQL of the demo's own")
            reports.append(
                _backend("PostgreSQL", postgres_url, folder, people, imported, pace, show)
            )
    claims = claims_of(reports, imported)
    show.summary(reports, claims, imported, skipped)
    return 0 if all(claim.held for claim in claims) else _FAILED


def _backend(
    name: str,
    open_store: Callable[[], AbstractContextManager[str]],
    folder: Path,
    people: list[str],
    imported: Imported,
    pace: Pace,
    show: Show,
) -> BackendReport:
    with open_store() as url:
        copies = folder / name.lower()
        copies.mkdir()
        settings = resolve(url, cache_dir=str(copies))
        with databases(settings) as found:
            for database in found:
                upgrade(database)
        with connect_operator(settings, actor="demo") as operator:
            operator.create(demo_flag(), reason="demo: the flag to let out")
            operator.create(agent_flag(), reason="demo: which agent answers")
            if imported.flag_set.flags:
                operator.import_flags(
                    imported.flag_set,
                    on_conflict=OnConflict.FAIL,
                    reason=f"demo: {imported.source}",
                )
            report = BackendReport(name, len(people), PROCESSES)
            show.backend(name)
            with Application(url, copies, processes=PROCESSES, users=people) as application:
                tell_story(report, operator, application, imported.questions, show.step)
                story = RolloutStory(url, copies, operator, application, pace, show.act, show.event)
                story.run()
            report.rollouts = story.compare()
            report.requests, report.failed = application.counts.requests, application.counts.failed
            return report
