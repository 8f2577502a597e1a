"""Where a rollout stands: everything that a decision needs, as frozen data that is kept as a row.

``State`` is the whole memory of a rollout beside its plan. It is written whole, in one transaction
with the events that led to it, and read by whichever controller claims the rollout next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Final

from downhaul.analysis.model import Finding

SCHEMA: Final = 1
"""The version of a state's stored form. A reader takes older ones, and leaves newer ones alone."""


class Phase(StrEnum):
    """The states of the machine. Whether one is final is for :data:`LIVE` to say."""

    STARTING = "starting"
    """Recorded; the first step is not at the provider yet."""
    PROGRESSING = "progressing"
    PAUSED = "paused"
    ROLLING_BACK = "rolling_back"
    """Taking the exposure off, then restoring the snapshot. Never gated (rule R4)."""
    LATCHED = "latched"
    """The exposure is off, and the restore waits for a person: somebody changed the flag since."""
    ROLLED_BACK = "rolled_back"
    COMPLETED = "completed"
    """The last step baked. Within the revert window it can be taken back."""
    REVERTING = "reverting"
    REVERTED = "reverted"
    STOPPED = "stopped"
    """Ended without touching the flag: a kill, or cancelled by hand."""


LIVE: Final = frozenset(
    {
        Phase.STARTING,
        Phase.PROGRESSING,
        Phase.PAUSED,
        Phase.ROLLING_BACK,
        Phase.LATCHED,
        Phase.REVERTING,
    }
)
"""The phases in which a controller looks after a rollout, and no other of its flag may start."""

RETURNING: Final = frozenset({Phase.ROLLING_BACK, Phase.REVERTING})
"""The phases of the way back."""


class Verb(StrEnum):
    """What a person can ask. No two share a meaning."""

    PAUSE = "pause"
    """Hold the exposure where it is."""
    RESUME = "resume"
    """End a pause; the step bakes anew."""
    PROMOTE = "promote"
    """Skip the rest of this step's bake. Guardrails still count."""
    ROLLBACK = "rollback"
    """Undo a live rollout."""
    REVERT = "revert"
    """Undo a completed one, within its window."""
    CANCEL = "cancel"
    """End a live rollout and leave the flag as it is."""


class Because(StrEnum):
    """Why a rollout is held, paused, on its way back or ended: for programs."""

    BY_HAND = "by_hand"
    REGRESSED = "regressed"
    UNDECIDED = "undecided"
    NO_DATA = "no_data"
    SIGNAL = "signal"
    """A signal is bad: it holds and never rolls back."""
    METRICS_LOST = "metrics_lost"
    DRIFT_LOWERED = "drift_lowered"
    DRIFT_RAISED = "drift_raised"
    DRIFT_OTHER = "drift_other"
    FLAG_GONE = "flag_gone"
    FLAG_CHANGED = "flag_changed"
    """The restore would undo what somebody else changed since."""
    KILLED = "killed"
    PROVIDER = "provider"
    """The backend could not be reached, or refused."""
    TIME_LIMIT = "time_limit"
    ABSENCE = "absence"
    """Nobody looked for a while: the step bakes anew (the controllers were down)."""
    CHECKLIST = "checklist"
    APPROVAL = "approval"
    START_TIME = "start_time"
    FREEZE = "freeze"
    HOOK = "hook"
    GATE = "gate"
    """What a gate needs could not be read, so it is closed."""


GATED: Final = frozenset(
    {
        Because.CHECKLIST,
        Because.APPROVAL,
        Because.START_TIME,
        Because.FREEZE,
        Because.HOOK,
        Because.GATE,
    }
)
"""Held before a gate: all else that a raise needs is there."""


class Act(StrEnum):
    """How far the way back has come."""

    NONE = ""
    EXPOSED = "exposed"
    """Decided; the exposure is still there, as far as anybody saw."""
    OFF = "off"
    """Seen to be off."""
    RESTORED = "restored"
    """The snapshot was seen to be back."""


@dataclass(frozen=True, slots=True)
class Baked:
    """What became of a step: when it was entered and left (microseconds), how long it baked."""

    step: int
    entered_at: int
    left_at: int
    baked: float
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class State:
    """A rollout's state. Times are microseconds since 1970 by the control store's clock.

    ``step`` is an index into the plan's steps; ``entered`` says that its exposure was seen at the
    provider. ``baked`` are the seconds that counted, ``waited`` all seconds since it was entered
    but for pauses. ``desired`` is the flag's document as the rollout last wrote or accepted it.
    ``because`` and ``message`` tell why the phase is what it is; ``hold`` and ``hold_message`` why
    a progressing rollout does not move on. ``accepted`` is what somebody else changed in the flag
    before a person resumed, ``foreign`` that and all else that a restore would undo; ``overwrite``
    says that a person lets it. ``limit_at`` ends a plan's ``max_duration``. ``promoted`` says that
    a person skipped the rest of this bake, and a gate holds the step even so. ``failed_at`` is
    when the backend began to fail, ``told_at`` when people last heard that a way back fails of it.
    """

    phase: Phase = Phase.STARTING
    step: int = 0
    entered: bool = False
    entered_at: int = 0
    baked: float = 0.0
    waited: float = 0.0
    desired: Mapping[str, Any] | None = None
    because: str = ""
    message: str = ""
    hold: str = ""
    hold_message: str = ""
    started_at: int = 0
    looked_at: int = 0
    ended_at: int = 0
    metrics_lost_at: int = 0
    act: Act = Act.NONE
    accepted: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    overwrite: bool = False
    reasserted: int = 0
    limit_at: int = 0
    failures: int = 0
    failed_at: int = 0
    promoted: bool = False
    told_at: int = 0
    findings: tuple[Finding, ...] = ()
    history: tuple[Baked, ...] = ()

    @property
    def live(self) -> bool:
        """Whether a controller looks after it."""
        return self.phase in LIVE

    def as_mapping(self) -> dict[str, Any]:
        """Return this as JSON data, as it is stored."""
        data: dict[str, Any] = {"schema": SCHEMA}
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name == "findings":
                value = [finding.as_mapping() for finding in value]
            elif one.name == "history":
                value = [_baked_data(baked) for baked in value]
            elif isinstance(value, StrEnum):
                value = value.value
            elif isinstance(value, tuple):
                value = list(value)
            data[one.name] = value
        return data

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> State:
        """Return the state that :meth:`as_mapping` wrote, by this or an earlier version.

        Raises ValueError for one that a later version wrote, KeyError for what is no state: then
        nobody here may touch it.
        """
        if int(data.get("schema", SCHEMA)) > SCHEMA:
            message = f"it was written by a newer version (schema {data['schema']})"
            raise ValueError(message)
        known = {one.name: data[one.name] for one in fields(cls) if one.name in data}
        known["phase"] = Phase(data["phase"])  # what has none is no state, and must not begin anew
        if "act" in known:
            known["act"] = Act(known["act"])
        if "findings" in known:
            known["findings"] = tuple(Finding.from_mapping(one) for one in known["findings"])
        if "history" in known:
            known["history"] = tuple(_baked(one) for one in known["history"])
        for name in ("foreign", "accepted"):
            known[name] = tuple(known.get(name, ()))
        return cls(**known)


def _baked_data(one: Baked) -> dict[str, Any]:
    return {
        "step": one.step,
        "entered_at": one.entered_at,
        "left_at": one.left_at,
        "baked": one.baked,
        "findings": [finding.as_mapping() for finding in one.findings],
    }


def _baked(data: Mapping[str, Any]) -> Baked:
    return Baked(
        step=int(data["step"]),
        entered_at=int(data["entered_at"]),
        left_at=int(data["left_at"]),
        baked=float(data["baked"]),
        findings=tuple(Finding.from_mapping(one) for one in data.get("findings", ())),
    )
