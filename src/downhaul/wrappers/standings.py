"""Where each flag stands between two backends, kept in the control store as flags of their own.

The stage of a flag is a flag: a text, split by the migration's own hash. So it is followed, written
with a version, recorded and read back as every other, by code that is there; LaunchDarkly keeps its
migrations so too. They stand in an environment of their own beside the one that they are about.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from downhaul.errors import ConfigError
from downhaul.flag import WHOLE, Bucketing, Flag, FlagKind, FlagSet, Split, Weight
from downhaul.provider import Capability, FlagProvider, FlagSetDelta
from downhaul.staging import STAGES, Stage, Standing, cohort_salt

if TYPE_CHECKING:
    from downhaul.config import Settings

_BESIDE: Final = "/migration"
_VARIANTS: Final[Mapping[str, Any]] = {one.value: one.value for one in STAGES}
_IN_STEP: Final = "in-step"


@dataclass(frozen=True, slots=True)
class Move:
    """One flag on its way: where it stands, between whom, and what was written for it.

    ``old`` and ``new`` are names of backends. ``wanted`` and ``after`` are digests of what was to
    be written at the new one, and of what it had then; ``created`` says that the flag was made
    there, so that it may be removed again. ``unsynced`` says what the other side lacks, as far as
    known. ``retired`` says that the old side has it no more: it stands on as ``complete``, because
    applications that still follow it must not ask the old side.
    """

    key: str
    standing: Standing = field(default_factory=Standing)
    old: str = ""
    new: str = ""
    wanted: str = ""
    after: str = ""
    created: bool = False
    unsynced: str = ""
    retired: bool = False
    version: str = field(default="", compare=False)


def to_flag(move: Move) -> Flag:
    """Return the flag that says where another one stands."""
    standing = move.standing
    about = {
        name: getattr(move, name)
        for name in ("old", "new", "wanted", "after", "created", "unsynced", "retired")
    }
    default: str | Split = standing.stage.value
    if standing.share < WHOLE and standing.stage.before is not standing.stage:
        weights = (
            Weight(standing.stage.value, standing.share),
            Weight(standing.stage.before.value, WHOLE - standing.share),
        )
        default = Split(weights, Bucketing(salt=cohort_salt(move.key)))
    return Flag(
        key=move.key,
        default=default,
        kind=FlagKind.STRING,
        variants=_VARIANTS,
        off_variant=Stage.OFF.value,
        on=True,
        tags=(_IN_STEP,) if standing.in_step else (),
        description=json.dumps(about, ensure_ascii=False, sort_keys=True),
    )


def from_flag(flag: Flag) -> Move:
    """Return where a flag stands, as another one says it. Raises ValueError for any other flag."""
    if isinstance(flag.default, Split):
        first, *_rest = flag.default.weights
        stage, share = Stage(str(first.variant)), first.weight
    else:
        stage, share = Stage(flag.default), WHOLE
    about = json.loads(flag.description)
    if not isinstance(about, dict):
        message = f'"{flag.key}" says nothing of a migration'
        raise ValueError(message)  # noqa: TRY004  (one error for whatever is no such flag)
    known = {name: about[name] for name in about if name in Move.__dataclass_fields__}
    standing = Standing(stage, share, in_step=_IN_STEP in flag.tags)
    return Move(**{**known, "key": flag.key, "standing": standing, "version": flag.version})


def environment_beside(environment: str) -> str:
    """Return the environment in which the stages of one environment's flags stand."""
    return f"{environment}{_BESIDE}"


def stage_provider(settings: Settings) -> FlagProvider:
    """Return the provider, not started, of the flags that say where others stand.

    Raises ConfigError where no control store is named that can keep them.
    """
    from downhaul.plugins import build_provider  # noqa: PLC0415  (pluggy, pydantic)

    aside = replace(settings.for_control(), environment=environment_beside(settings.environment))
    provider = build_provider(aside)
    if not provider.capabilities >= {Capability.FLAG_SET, Capability.WRITE}:
        provider.close()
        message = f'"{aside.provider.safe_url}" can\'t keep where flags stand between two backends'
        raise ConfigError(
            message,
            hint="name a database in [control] url, such as postgresql:// or sqlite:///",
            origin=settings.origins.get("control.url"),
        )
    return provider


def has_register(settings: Settings, provider: FlagProvider) -> bool:
    """Return whether there is a place where it is written down how far flags have come.

    That is where kills are: the control store that is named, or else the provider's own.
    """
    return settings.control.url is not None or getattr(provider, "control", None) is not None


class Followed:
    """Standings as an application follows them: a dict that a watching provider keeps up to date.

    ``standing_of`` does no I/O and raises nothing. ``fallback`` is how a flag stands that the
    register doesn't name. ``heard`` says whether the register was read at all, and ``on_moved`` is
    told of the keys of flags that stand elsewhere now.
    """

    def __init__(
        self,
        provider: FlagProvider,
        fallback: Standing,
        on_moved: Callable[[frozenset[str]], None] = lambda _keys: None,
    ) -> None:
        self.provider = provider
        self.on_moved = on_moved
        self.heard = threading.Event()
        self._fallback = fallback
        self._standings: dict[str, Standing] = {}

    def standing_of(self, key: str) -> Standing:
        """Return where a flag stands now."""
        return self._standings.get(key, self._fallback)

    def start(self) -> None:
        """Begin to follow the register."""
        self.provider.start(self)

    def look(self) -> None:
        """Read the register once. Raises what reading it raises."""
        self.replaced(self.provider.list())

    def after_fork(self) -> None:
        """Follow on in a forked child, with an event that no thread of the parent holds."""
        heard, self.heard = self.heard.is_set(), threading.Event()
        if heard:
            self.heard.set()
        self.provider.after_fork()

    # What the register says (Listener)

    def replaced(self, flag_set: FlagSet, by: object = None) -> None:
        """Take in the whole register."""
        before, after = self._standings, dict(_standings(flag_set.flags.values()))
        self._standings = after
        self.heard.set()
        self._tell(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))

    def changed(self, delta: FlagSetDelta) -> None:
        """Take in what moved."""
        present = [one for one in delta.flags.values() if one is not None]
        gone = {key for key, one in delta.flags.items() if one is None}
        kept = {key: one for key, one in self._standings.items() if key not in gone}
        self._standings = kept | dict(_standings(present))
        self._tell(delta.flags)

    def keys_changed(self, keys: Iterable[str]) -> None:
        """Hear of nothing: the register publishes rules."""

    def status_changed(self, status: object) -> None:
        """Hear how the register stands; what was known goes on holding."""

    def _tell(self, keys: Iterable[str]) -> None:
        told = frozenset(keys)
        if told:
            self.on_moved(told)


def _standings(flags: Iterable[Flag]) -> Iterator[tuple[str, Standing]]:
    for flag in flags:
        try:
            yield flag.key, from_flag(flag).standing
        except (ValueError, TypeError):
            continue  # it stands as if nobody had said anything; `migrate status` tells of it
