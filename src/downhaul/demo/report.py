"""What the demo claims, whether it held, and how both are shown."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from downhaul.demo.imported import Imported
from downhaul.demo.story import BackendReport, StepReport

_SECOND: Final = 1.0  # a kill that takes longer is no kill switch


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence that the run had to make true."""

    text: str
    held: bool
    measured: str


def claims_of(reports: Sequence[BackendReport], imported: Imported) -> list[Claim]:
    """Return every claim, with what was measured for it."""
    claims = []
    for report in reports:
        name = report.backend
        unlike = sum(step.unlike for step in report.steps)
        kill = max(report.steps[-1].latencies)
        claims += [
            Claim(f"{name}: nobody lost the feature while it was raised", report.lost == 0,
                  f"{report.lost} of {report.users} users"),
            Claim(f"{name}: everybody was served what the flag says", unlike == 0,
                  f"{unlike} answers differ"),
            Claim(f"{name}: every process obeyed the kill within a second", kill < _SECOND,
                  f"{kill * 1000:.0f} ms"),
            Claim(f"{name}: nothing was served wrongly after the kill was seen",
                  report.wrong_after_kill == 0, f"{report.wrong_after_kill} requests"),
            Claim(f"{name}: no request failed", report.failed == 0,
                  f"{report.failed} of {report.requests}"),
        ]  # fmt: skip
        if imported.expectations:
            broken = imported.broken(report.imported)
            claims.append(
                Claim(f"{name}: the imported flags answer as their document demands", not broken,
                      f"{len(imported.expectations) - len(broken)} of "
                      f"{len(imported.expectations)} expectations"
                      + "".join(f"; {one}" for one in broken[:3]))
            )  # fmt: skip
    if len(reports) > 1:
        first, *others = reports
        differ = sum(_apart(first, other) for other in others)
        names = " and ".join(report.backend for report in reports)
        claims.append(
            Claim(f"{names} gave every user the same variant", differ == 0,
                  f"{differ} users differ at some step")
        )  # fmt: skip
        if imported.questions:
            differ = sum(
                mine["variant"] != theirs["variant"] or mine["enabled"] != theirs["enabled"]
                for other in others
                for mine, theirs in zip(first.imported, other.imported, strict=True)
            )
            claims.append(
                Claim(f"{names} answer every question on the imported flags alike", differ == 0,
                      f"{differ} of {len(imported.questions)} differ")
            )  # fmt: skip
    return claims


def _apart(one: BackendReport, other: BackendReport) -> int:
    """Return how many users were answered differently by two backends, after any command."""
    return len(
        {
            user
            for command, answers in one.answers.items()
            for user, variant in answers.items()
            if other.answers[command][user] != variant
        }
    )


class Show:
    """Tells the run as it goes, on stderr, and sums it up, on stdout."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._heading: str | None = None

    def note(self, text: str) -> None:
        """Say what is going on."""
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    def step(self, step: StepReport) -> None:
        """Show what one command did."""
        if self._heading != step.backend:
            self._heading = step.backend
            self.note(f"\n{step.backend}")
            self.note(f"  {'command':>9}  {'asked':>7}  {'served':>8}  {'lost':>4}  seen after")
        bar = "█" * round(step.share * 30)
        seen = " ".join(f"{second * 1000:.0f} ms" for second in step.latencies)
        lost = "all" if step.command == "kill" else str(step.lost)
        self.note(
            f"  {step.command:>9}  {step.asked:>7.1%}  {step.share:>8.2%}  {lost:>4}  "
            f"{seen:<14} {bar}"
        )

    def summary(
        self, reports: Sequence[BackendReport], claims: Sequence[Claim], imported: Imported,
        skipped: str | None,
    ) -> None:  # fmt: skip
        """Print the figures and the claims."""
        if self._as_json:
            sys.stdout.write(f"{json.dumps(_data(reports, claims, imported, skipped), indent=2)}\n")
            return
        lines = [""]
        for report in reports:
            spread = _spread(report.latencies)
            lines.append(
                f"{report.backend}: {report.requests} requests of {report.users} users at "
                f"{report.processes} processes; command to changed answer {spread}"
            )
        if imported.source:
            lines.append(
                f"imported {imported.source}: {len(imported.flag_set.flags)} flags, "
                f"{len(imported.flag_set.segments)} segments; {_fidelity(imported)}"
            )
        lines.append("")
        lines += [f"  {'held' if c.held else 'FAILED':6}  {c.text}: {c.measured}" for c in claims]
        if skipped:
            lines += ["", f"PostgreSQL was left out: {skipped}"]
        held = sum(claim.held for claim in claims)
        lines += ["", f"{held} of {len(claims)} claims held."]
        sys.stdout.write("\n".join(lines) + "\n")


def _spread(seconds: Sequence[float]) -> str:
    if not seconds:
        return "not measured"
    middle = statistics.median(seconds) * 1000
    return f"{middle:.0f} ms in the middle, {max(seconds) * 1000:.0f} ms at most"


def _fidelity(imported: Imported) -> str:
    counts: dict[str, int] = {}
    for entry in imported.ledger:
        name = str(getattr(entry.fidelity, "value", entry.fidelity)).upper()
        counts[name] = counts.get(name, 0) + 1
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "empty ledger"


def _data(
    reports: Sequence[BackendReport],
    claims: Sequence[Claim],
    imported: Imported,
    skipped: str | None,
) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "command": "demo",
        "held": all(claim.held for claim in claims),
        "claims": [{"claim": c.text, "held": c.held, "measured": c.measured} for c in claims],
        "skipped": skipped,
        "imported": {
            "source": imported.source,
            "flags": len(imported.flag_set.flags),
            "segments": len(imported.flag_set.segments),
            "questions": len(imported.questions),
            "expectations": len(imported.expectations),
        }
        if imported.source
        else None,
        "backends": [
            {
                "backend": report.backend,
                "users": report.users,
                "processes": report.processes,
                "requests": report.requests,
                "failed": report.failed,
                "lost": report.lost,
                "wrong_after_kill": report.wrong_after_kill,
                "steps": [
                    {
                        "command": step.command,
                        "asked": step.asked,
                        "share": step.share,
                        "lost": step.lost,
                        "unlike": step.unlike,
                        "latencies_ms": [round(second * 1000, 2) for second in step.latencies],
                    }
                    for step in report.steps
                ],
            }
            for report in reports
        ],
    }
