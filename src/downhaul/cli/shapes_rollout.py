"""The shapes of what ``rollout``, ``controller`` and ``audit`` print with ``--json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from downhaul.cli.shape_words import (
    ANY,
    COUNT,
    COUNT_OR_NULL,
    FLAG,
    HERE,
    NUMBER,
    NUMBER_OR_NULL,
    TEXT,
    TEXT_OR_NULL,
    Shape,
    list_of,
    object_of,
    one_of,
    or_null,
)

_FINDING: Final = object_of(
    check=TEXT,
    verdict=one_of("regressed", "clean", "undecided", "no_data"),
    value=NUMBER_OR_NULL,
    control=NUMBER_OR_NULL,
    requests=COUNT,
    needed=COUNT,
    dry_run=FLAG,
    message=TEXT,
    evidence=NUMBER_OR_NULL,
    enough=NUMBER_OR_NULL,
)
_STRATEGY: Final = one_of("canary", "linear", "exponential", "blue_green", "release", "rings")
_PLAN: Final = object_of(
    schema=COUNT,
    flag=TEXT,
    variant=TEXT,
    strategy=_STRATEGY,
    steps=list_of(object_of(weight=COUNT, bake=NUMBER, max_bake=NUMBER, preview=FLAG)),
    guardrails=list_of(object_of(measure=TEXT)),
    signals=list_of(object_of(measure=TEXT)),
)
_GATE: Final = object_of(
    kind=one_of("checklist", "approval", "start_time", "freeze", "hook", "gate"),
    name=TEXT_OR_NULL,
    open=FLAG,
    message=TEXT,
    hint=TEXT_OR_NULL,
    until=TEXT_OR_NULL,
    command=TEXT_OR_NULL,
)
_ITEM: Final = object_of(
    id=TEXT,
    text=TEXT,
    when=one_of("before", "during", "after"),
    auto=TEXT_OR_NULL,
    required=FLAG,
    mark=one_of("done", "open", "later"),
    message=TEXT,
    hint=TEXT_OR_NULL,
    by=TEXT_OR_NULL,
    at=TEXT_OR_NULL,
    reason=TEXT,
)
_ROLLOUT_SUMMARY: Final[Mapping[str, Shape]] = {
    "id": TEXT,
    **HERE,
    "flag": TEXT,
    "variant": TEXT,
    "strategy": _STRATEGY,
    "phase": one_of(
        "starting",
        "progressing",
        "paused",
        "rolling_back",
        "latched",
        "rolled_back",
        "completed",
        "reverting",
        "reverted",
        "stopped",
    ),
    "live": FLAG,
    "step": COUNT,
    "percent": NUMBER_OR_NULL,
    "because": TEXT_OR_NULL,
    "created_at": TEXT_OR_NULL,
    "updated_at": TEXT_OR_NULL,
    "ended_at": TEXT_OR_NULL,
    "actor": TEXT,
    "reason": TEXT,
}
_ROLLOUT: Final[Mapping[str, Shape]] = {
    **_ROLLOUT_SUMMARY,
    "message": TEXT,
    "hold": TEXT_OR_NULL,
    "hold_message": TEXT,
    "act": TEXT,
    "foreign": list_of(TEXT),
    "waits": list_of(TEXT),
    "next": TEXT,
    "gates": list_of(_GATE),
    "checklist": list_of(_ITEM),
    "steps": list_of(
        object_of(
            number=COUNT,
            percent=NUMBER,
            preview=FLAG,
            name=TEXT,
            targets=list_of(TEXT),
            segments=list_of(TEXT),
            bake=NUMBER,
            max_bake=NUMBER,
            entered_at=TEXT_OR_NULL,
            left_at=TEXT_OR_NULL,
            baked=NUMBER,
            findings=list_of(_FINDING),
        )
    ),
    "findings": list_of(_FINDING),
    "started_at": TEXT_OR_NULL,
    "looked_at": TEXT_OR_NULL,
    "due_at": TEXT_OR_NULL,
    "controllers": COUNT,
    "pending": list_of(TEXT),
    "plan": _PLAN,
    "digest": TEXT,
}
_ADVICE: Final = list_of(
    object_of(
        severity=one_of("error", "warning", "note"),
        path=TEXT,
        message=TEXT,
        hint=TEXT_OR_NULL,
    )
)
_PLANNED: Final[Mapping[str, Shape]] = {
    "flag": TEXT,
    "variant": TEXT,
    "strategy": TEXT,
    "digest": TEXT,
    "advice": _ADVICE,
    "rehearsed": TEXT_OR_NULL,
    "schedule": list_of(
        object_of(
            number=COUNT,
            percent=NUMBER,
            preview=FLAG,
            name=TEXT,
            targets=list_of(TEXT),
            segments=list_of(TEXT),
            enters=TEXT,
            enters_latest=TEXT,
            ends=TEXT,
            ends_latest=TEXT,
            capped=FLAG,
        )
    ),
    "plan": _PLAN,
}
_LOOK: Final = object_of(
    at=TEXT,
    step=COUNT_OR_NULL,
    percent=NUMBER_OR_NULL,
    phase=TEXT_OR_NULL,
    since=TEXT_OR_NULL,
    until=TEXT_OR_NULL,
    query=TEXT,
    warnings=list_of(TEXT),
    arms={"type": "object"},
    findings=list_of(_FINDING),
    error=TEXT,
    hold=TEXT,
    action=TEXT,
)
_FORECAST: Final = object_of(
    requests_per_hour=NUMBER,
    seconds=NUMBER,
    rates={"type": "object", "additionalProperties": NUMBER},
    steps=list_of(
        object_of(
            number=COUNT,
            percent=NUMBER,
            requests=NUMBER,
            too_short=FLAG,
            checks=list_of(object_of(check=TEXT, least=NUMBER_OR_NULL, clear=NUMBER_OR_NULL)),
        )
    ),
    harms=list_of(
        object_of(
            check=TEXT,
            times=NUMBER,
            step=COUNT_OR_NULL,
            after=NUMBER_OR_NULL,
            failed=NUMBER_OR_NULL,
        )
    ),
)
_COMMANDED: Final[Mapping[str, Shape]] = {
    "verb": TEXT,
    "applied": FLAG,
    "refused": FLAG,
    "outcome": TEXT,
    "rollout": object_of(**_ROLLOUT),
}
_SIGNED: Final[Mapping[str, Shape]] = {
    "verb": TEXT,
    "written": FLAG,
    "outcomes": list_of(TEXT),
    "rollout": object_of(**_ROLLOUT),
}
_EVENT: Final = object_of(
    id=COUNT, at=TEXT, action=TEXT, actor=TEXT, reason=TEXT, detail={"type": "object"}
)
_AUDITED: Final = object_of(
    id=COUNT,
    at=TEXT,
    environment=TEXT,
    entity=one_of("flag", "segment", "kill", "rollout", "rehearsal"),
    key=TEXT,
    flag=TEXT_OR_NULL,
    action=TEXT,
    actor=TEXT,
    marked=FLAG,
    reason=TEXT,
    version=TEXT,
    detail={"type": "object"},
    summary=TEXT,
)

ROLLOUT_BODIES: Final[Mapping[str, Mapping[str, Shape]]] = {
    "rollout templates": {
        "templates": list_of(
            object_of(
                name=TEXT,
                version=COUNT,
                description=TEXT,
                origin=TEXT,
                arguments=list_of(object_of(name=TEXT, default=ANY, description=TEXT)),
            )
        )
    },
    "rollout new": {"flag": TEXT, "template": TEXT, "text": TEXT},
    "rollout lint": {"flag": TEXT, "ok": FLAG, "advice": _ADVICE},
    "rollout plan": {**_PLANNED, "forecast": or_null(_FORECAST)},
    "rollout rehearse": {
        "flag": TEXT,
        "variant": TEXT,
        "digest": TEXT,
        "held": FLAG,
        "at": TEXT_OR_NULL,
        "population": COUNT,
        "exposed": list_of(COUNT),
        "served_more": COUNT,
        "answered_unlike": COUNT,
        "moved": list_of(object_of(key=TEXT, when=TEXT, before=TEXT_OR_NULL, got=TEXT_OR_NULL)),
    },
    "rollout start": {**_PLANNED, "rollout": object_of(**_ROLLOUT)},
    "rollout list": {"rollouts": list_of(object_of(**_ROLLOUT_SUMMARY))},
    "rollout status": _ROLLOUT,
    "rollout explain": {
        "rollout": object_of(**_ROLLOUT),
        "stands": TEXT,
        "why": TEXT,
        "waits": list_of(TEXT),
        "next": TEXT,
        "commands": list_of(TEXT),
        "events": list_of(_EVENT),
        "at": TEXT_OR_NULL,
        "look": or_null(_LOOK),
    },
    **{
        f"rollout {verb}": _COMMANDED
        for verb in ("pause", "resume", "promote", "rollback", "revert", "cancel")
    },
    **{f"rollout {verb}": _SIGNED for verb in ("approve", "reject", "check", "uncheck")},
    "rollout checklist": {"rollout": TEXT, "flag": TEXT, "items": list_of(_ITEM)},
    "controller run": {
        "owner": TEXT,
        "claimed": COUNT,
        "acted": COUNT,
        "errors": list_of(TEXT),
        "unreachable": FLAG,
        "counters": {"type": "object"},
    },
    "audit": {"records": list_of(_AUDITED)},
}
