"""The shapes of what ``migrate`` prints with ``--json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from downhaul.cli.shape_words import (
    ANY,
    COUNT,
    COUNT_OR_NULL,
    FLAG,
    LOSS,
    NUMBER,
    NUMBER_OR_NULL,
    TEXT,
    TEXT_OR_NULL,
    list_of,
    object_of,
    one_of,
    or_null,
)

_SIDE: Final = object_of(name=TEXT, provider=TEXT, url=TEXT)
_ITEM: Final = object_of(
    entity=one_of("flag", "segment"),
    key=TEXT,
    action=one_of("create", "update", "same", "manual", "skip"),
    kind=TEXT,
    fidelity=one_of("full", "partial", "manual", "skipped"),
    change={"type": "number"},
    reason=TEXT,
    losses=list_of(LOSS),
    source=TEXT,
    target=TEXT,
    target_version=TEXT,
    wanted=ANY,
    origin=ANY,
    before=ANY,
)
_PLAN: Final = object_of(
    format=TEXT,
    schema_version=COUNT,
    tool_version=TEXT,
    created_at=TEXT,
    environment=TEXT,
    source=_SIDE,
    target=_SIDE,
    bucketing=one_of("keep", "native"),
    items=list_of(_ITEM),
)
_DONE: Final = object_of(
    entity=one_of("flag", "segment"),
    key=TEXT,
    action=one_of("create", "update", "same", "manual", "skip"),
    outcome=one_of("written", "unchanged", "failed", "missing", "left"),
    error=TEXT_OR_NULL,
)
_UNDONE: Final = object_of(
    entity=one_of("flag", "segment"),
    key=TEXT,
    outcome=one_of("removed", "restored", "gone", "kept"),
    reason=TEXT_OR_NULL,
)

_MOVE: Final = {
    "key": TEXT,
    "stage": one_of("off", "dual-write", "shadow", "live", "ramp-down", "complete"),
    "percent": {"type": "number"},
    "in_step": FLAG,
    "old": TEXT,
    "new": TEXT,
    "unsynced": TEXT_OR_NULL,
    "retired": FLAG,
}
_MOVED: Final = object_of(changed=FLAG, before=object_of(**_MOVE), **_MOVE)

_ANSWER: Final = object_of(provider=TEXT, variant=TEXT_OR_NULL, value=TEXT, error=TEXT)
_WATCHED: Final = object_of(
    flag=TEXT,
    sides=TEXT_OR_NULL,
    stage=or_null(_MOVE["stage"]),
    percent=NUMBER_OR_NULL,
    compared=COUNT,
    answered=COUNT,
    matched=COUNT,
    differed=COUNT,
    value=COUNT,
    type=COUNT,
    not_found=COUNT,
    error_old=COUNT,
    error_new=COUNT,
    expected=COUNT,
    dropped=COUNT,
    parity=NUMBER_OR_NULL,
    last_differed=TEXT_OR_NULL,
    clean_for=NUMBER_OR_NULL,
    objection=TEXT_OR_NULL,
    could_move_on=FLAG,
    examples=list_of(
        object_of(
            outcome=one_of("value", "type", "not_found", "error_old", "error_new", "expected"),
            differs=FLAG,
            at=TEXT,
            who=TEXT,
            attributes=list_of(TEXT),
            old=_ANSWER,
            new=_ANSWER,
        )
    ),
)

MIGRATE_BODIES: Final[Mapping[str, Mapping[str, Any]]] = {
    "migrate inventory": {
        "flags": list_of(
            object_of(
                key=TEXT,
                kind=TEXT,
                type=TEXT,
                on=FLAG,
                exposure=TEXT,
                owner=TEXT,
                tags=list_of(TEXT),
                worth=one_of("move", "done", "unused", "lost"),
                serves=TEXT_OR_NULL,
                changed=TEXT_OR_NULL,
                days=COUNT_OR_NULL,
                references=COUNT_OR_NULL,
                losses=COUNT,
            )
        ),
        "left": list_of(LOSS),
        "unknown": {"type": "object"},
        "dynamic": list_of(object_of(place=TEXT, source=TEXT)),
        "problems": list_of(TEXT),
        "files": COUNT,
    },
    "migrate retire": {"key": TEXT, "old": TEXT, "archived": FLAG, "undo": TEXT},
    "migrate plan": {"plan": _PLAN, "blocking": list_of(TEXT)},
    "migrate show": {"plan": _PLAN},
    "migrate apply": {"rows": list_of(_DONE), "whole": FLAG, "stopped": TEXT_OR_NULL},
    "migrate verify": {"report": {"type": "object", "required": ["passed", "flags", "parity"]}},
    "migrate status": {
        "moves": list_of(
            object_of(compared=COUNT_OR_NULL, differed=COUNT_OR_NULL, failed=COUNT_OR_NULL, **_MOVE)
        )
    },
    "migrate report": {
        "since": TEXT,
        "until": TEXT,
        "min_parity": NUMBER,
        "enough": COUNT,
        "passed": FLAG,
        "failures": list_of(TEXT),
        "flags": list_of(_WATCHED),
    },
    "migrate cutover": {"moves": list_of(_MOVED), "warnings": list_of(TEXT)},
    "migrate forget": {"moves": list_of(object_of(**_MOVE))},
    "migrate back": {"moves": list_of(_MOVED)},
    "migrate sync": {"rows": list_of(_DONE), "whole": FLAG, "stopped": TEXT_OR_NULL},
    "migrate revert": {"rows": list_of(_UNDONE), "whole": FLAG, "dry_run": FLAG},
}
