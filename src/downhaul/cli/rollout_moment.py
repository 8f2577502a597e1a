"""A rollout as it was at some moment: what was seen, what it proved, and what was made of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from downhaul.analysis.model import Finding
from downhaul.cli import rollout_words as words
from downhaul.cli.rollout_render import event_lines
from downhaul.rollout.results import Rollout, RolloutEvent
from downhaul.spans import is_span, seconds_of
from downhaul.store.looks import LookRow

_ARM: Final = 10  # letters that a variant's name takes in a column, at least


def moment_of(text: str, now: int) -> int:
    """Return a moment, RFC 3339 or a time ago (``10m``), in microseconds since 1970.

    ``now`` is the store's clock. Raises ValueError for what is neither.
    """
    if is_span(text):
        return now - round(seconds_of(text) * words.SECOND)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        message = f'"{text}" is no moment: say 2026-03-02T09:30:00Z, or how long ago: 10m'
        raise ValueError(message) from None
    if found.utcoffset() is None:
        message = f'"{text}" has no UTC offset: say {text}Z for UTC'
        raise ValueError(message)
    return round(found.astimezone(UTC).timestamp() * words.SECOND)


def look_data(row: LookRow | None) -> dict[str, Any] | None:
    """Return a look as JSON data; None where there was none."""
    if row is None:
        return None
    look = row.look
    return {
        "at": words.moment(row.at),
        "step": look.get("step"),
        "percent": look.get("percent"),
        "phase": look.get("phase"),
        "since": words.moment(look.get("since", 0)) or None,
        "until": words.moment(look.get("until", 0)) or None,
        "query": look.get("query", ""),
        "warnings": look.get("warnings", []),
        "arms": look.get("arms", {}),
        "findings": look.get("findings", []),
        "error": look.get("error", ""),
        "hold": look.get("hold", ""),
        "action": look.get("action", ""),
    }


def moment_lines(
    rollout: Rollout,
    at: int,
    row: LookRow | None,
    before: Sequence[RolloutEvent],
    after: RolloutEvent | None,
) -> list[str]:
    """Return in words how a rollout stood at a moment, and what came next."""
    lines = [f"{rollout.flag}: rollout {rollout.id} as it was at {words.moment(at)}"]
    sections: list[tuple[str, list[str]]] = []
    if row is None:
        said = "nobody had looked at it by then" if before else "it was not there yet"
        sections.append(("Where it stood", [said]))
    else:
        sections += _seen(rollout, row)
    sections.append(("What had happened", event_lines(before)))
    if after is not None:
        sections.append(("What happened next", event_lines([after])))
    for title, texts in sections:
        if texts:
            lines += ["", title, *(f"  {text}" for text in texts)]
    return lines


def parted(
    events: Sequence[RolloutEvent], at: int
) -> tuple[list[RolloutEvent], RolloutEvent | None]:
    """Return the events up to a moment, and the first one after it."""
    before = [one for one in events if _microseconds(one.at) <= at]
    return before, next((one for one in events if _microseconds(one.at) > at), None)


def _microseconds(at: str) -> int:
    return round(datetime.fromisoformat(at).timestamp() * words.SECOND)


def counted_lines(row: LookRow) -> list[str]:
    """Return what a look counted, and by which query."""
    look = row.look
    lines = []
    if look.get("error"):
        lines.append(f"the metric source did not answer: {look['error']}")
    since, until = (words.moment(look.get(name, 0)) for name in ("since", "until"))
    if since and until:
        lines.append(f"from {since} up to {until}")
    if look.get("query"):
        lines += [f"query  {one}" for one in str(look["query"]).splitlines()]
    lines += [f"warning  {one}" for one in look.get("warnings", [])]
    return [*lines, *_arms(look.get("arms", {}))]


def _seen(rollout: Rollout, row: LookRow) -> Iterator[tuple[str, list[str]]]:
    look = row.look
    phase = str(look.get("phase", "")).replace("_", " ")
    step = look.get("step", "?")
    stood = f"{phase} at step {step} of {len(rollout.plan.steps)} ({look.get('percent', 0):g} %)"
    yield "Where it stood", [stood, f"looked at {words.moment(row.at)}"]
    yield "What was counted", counted_lines(row)
    yield "What each check said", [_said(one) for one in look.get("findings", [])]
    action = str(look.get("action", "")).replace("_", " ")
    held = f"held: {look['hold']}" if look.get("hold") else ""
    yield (
        "What was made of it",
        [f"decided: {action}" if action else held or "it went on as it was"],
    )


def _said(data: Mapping[str, Any]) -> str:
    finding = Finding.from_mapping(data)
    verdict = finding.verdict.value.replace("_", " ")
    dry = " (dry run)" if finding.dry_run else ""
    return f"{finding.check}  {verdict}{dry}  {finding.message}"


def _arms(arms: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    width = max((_ARM, *map(len, arms)))
    for name, arm in arms.items():
        timed = arm.get("timed") or 0
        parts = [f"{arm.get('requests', 0):,} requests", f"{arm.get('errors', 0):,} in error"]
        if "users" in arm:
            parts.append(f"{arm['users']:,} users")
        if timed and arm.get("latency_ms") is not None:
            parts.append(f"{arm['latency_ms'] / timed:.4g} ms in the mean")
        parts += [
            f"{many:,} slower than {limit} ms" for limit, many in (arm.get("slow") or {}).items()
        ]
        yield f"{name.ljust(width)}  {', '.join(parts)}"
