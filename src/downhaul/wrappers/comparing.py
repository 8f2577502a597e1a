"""Compares the answers of two backends, away from whoever waits for one of them.

The caller's path is a lottery and an append to a bounded queue. One thread asks again what waits
there, and counts; what the queue can't take is dropped and counted. Nothing here raises into the
caller's code. Of who asked a hash is kept, under a salt of this process alone.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import random
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypedDict

from downhaul.context import Context
from downhaul.evaluator.asking import Ask
from downhaul.flag import FlagKind
from downhaul.provider import utc_now
from downhaul.result import ErrorCode, Reason, Result
from downhaul.staging import Side
from downhaul.vendors.aside import asking_aside
from downhaul.wrappers.comparisons import (
    DIFFERENT,
    OTHERS,
    Counts,
    Expectation,
    Mismatch,
    Outcome,
    Report,
    answered,
    compared,
    names_of,
)
from downhaul.wrappers.giving import CountSink, Example, Examples, Giving

_log: Final = logging.getLogger("downhaul.wrappers")

CAPACITY: Final = 10_000
"""Comparisons that wait, at most."""

_EVERY: Final = 0.05  # seconds between two looks at what waits
_AT_ONCE: Final = 10  # comparisons between two moments in which others may go on
_FLUSH: Final = 10.0  # seconds between two words to a sink
_ASK_AGAIN: Final = 0.1  # seconds between two questions of whether both sides are ready
_KEPT: Final = 100  # mismatches
_FLAGS: Final = 10_000  # that are counted apart, for anybody may ask for any key
_HASH: Final = 12  # hexadecimal digits of an identity
_CONTAINERS: Final = (dict, list, set)
_HELD: Final = frozenset({dict, list})
"""Values that callers may change: the side is asked again for those."""
_SIDES: Final = {Outcome.ERROR_OLD: Side.OLD, Outcome.ERROR_NEW: Side.NEW}


class Options(TypedDict, total=False):
    """How much is compared, and where it goes; see the defaults of :class:`Comparing`.

    ``sample`` is the share of answers, from 0 to 1, and ``draw`` gives numbers from 0 up to 1,
    without 1. ``capacity`` is how many may wait. ``expected`` are differences that somebody knows
    of, which end by ``today``. ``sink`` gets the counts every ``flush_every`` seconds.
    """

    sample: float
    capacity: int
    expected: Iterable[Expectation]
    sink: CountSink | None
    flush_every: float
    draw: Callable[[], float]
    today: Callable[[], dt.date]


def _utc_today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()


@dataclass(frozen=True, slots=True)
class Compared:
    """One side, as a comparison has it: how it is asked, and whether its flags are fresh."""

    ask: Ask
    fresh: Callable[[], bool]


class _Question(NamedTuple):
    key: str
    context: Context
    kind: FlagKind | None
    answer: Result | None  # None: the side that answered is asked again
    side: Side


class Comparing:
    """Takes answers of one side, and compares a share of them with what the other side says.

    Nothing is compared before both sides were fresh once; after that, a side that is not counts as
    an error. ``options`` are those of :class:`Options`.
    """

    def __init__(
        self,
        sides: Mapping[Side, Compared],
        *,
        sample: float = 0.1,
        capacity: int = CAPACITY,
        expected: Iterable[Expectation] = (),
        sink: CountSink | None = None,
        flush_every: float = _FLUSH,
        draw: Callable[[], float] = random.random,
        today: Callable[[], dt.date] = _utc_today,
    ) -> None:
        self._sides = dict(sides)
        self.sample = sample
        self._capacity = capacity
        self._expected = tuple(expected)
        self._giving = Giving(sink, flush_every)
        self._draw = draw
        self._today = today
        self._salt = secrets.token_bytes(16)
        self._begin()

    def _begin(self) -> None:
        """Start with nothing: at first, and in a forked child, whose parent counts its own."""
        self._waiting: deque[_Question] = deque()
        self._starting = threading.Lock()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._both = False  # whether both sides were fresh once
        self._looked = 0.0
        self._since = utc_now()
        self._counts: dict[str, dict[Outcome, int]] = {}
        # Each thread counts for itself what it drops: no step is shared.
        self._dropped: dict[tuple[str, int], int] = {}
        self._examples: Examples = {}
        self._mismatches: deque[Mismatch] = deque(maxlen=_KEPT)
        self._errors: dict[Outcome, str] = {}

    # The caller's path

    def offer(
        self, key: str, context: Context, kind: FlagKind | None, answer: Result, side: Side
    ) -> None:
        """Take one side's answer, for a comparison perhaps. Never waits, never raises."""
        if self._draw() >= self.sample:
            return
        try:
            if not (self._both or self._are_both()):
                return
            if len(self._waiting) >= self._capacity or self._closing.is_set():
                self._drop(key)
                return
            kept = None if type(answer.value) in _HELD else answer
            self._waiting.append(_Question(key, _held(context), kind, kept, side))
            if self._thread is None:
                self._start()
        except Exception:  # noqa: BLE001  (a comparison is worth no application's request)
            self._drop(key)
            _log.debug("an answer could not be taken for a comparison", exc_info=True)

    def _are_both(self) -> bool:
        now = time.monotonic()
        if now - self._looked < _ASK_AGAIN:
            return False
        self._looked = now
        self._both = all(side.fresh() for side in self._sides.values())
        return self._both

    def _drop(self, key: str) -> None:
        mine = (key if len(self._dropped) < _FLAGS else OTHERS), threading.get_ident()
        self._dropped[mine] = self._dropped.get(mine, 0) + 1

    def _start(self) -> None:
        with self._starting:
            if self._thread is not None or self._closing.is_set():
                return
            thread = threading.Thread(target=self._run, name="downhaul-compare", daemon=True)
            thread.start()
            self._thread = thread

    # What is known

    def report(self) -> Report:
        """Return what was compared until now."""
        return Report(
            self._since,
            self._counted(),
            tuple(self._mismatches.copy()),
            MappingProxyType(self._errors.copy()),
            len(self._waiting),
            self._both,
        )

    def _counted(self) -> Counts:
        found = {key: dict(counts) for key, counts in self._counts.copy().items()}
        for (key, _), dropped in self._dropped.copy().items():
            counts = found.setdefault(key, {})
            counts[Outcome.DROPPED] = counts.get(Outcome.DROPPED, 0) + dropped
        return MappingProxyType({key: MappingProxyType(one) for key, one in found.items()})

    def flush(self) -> None:
        """Give the sink what was counted since it last took anything."""
        self._giving.give(self._counted, self._examples)

    # Life

    def reopen(self) -> None:
        """Begin to compare again after :meth:`close`; what was counted stays."""
        if self._closing.is_set():
            # Not those of a thread that may hang still, and ends what it finds there.
            self._closing, self._wake, self._waiting = threading.Event(), threading.Event(), deque()
            self._thread, self._both, self._looked = None, False, 0.0

    def stop(self) -> None:
        """Compare nothing from now on. Returns at once."""
        self._closing.set()
        self._wake.set()

    def close(self, timeout: float) -> None:
        """Stop within ``timeout`` seconds; what waits is dropped."""
        self.stop()
        with self._starting:
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def after_fork(self) -> None:
        """Begin anew in a forked child, with what is waiting left to the parent."""
        closed = self._closing.is_set()
        self._giving.begin()
        self._begin()
        if closed:
            self.stop()

    # In the thread

    def _run(self) -> None:
        closing, wake, waiting = self._closing, self._wake, self._waiting
        flush_at = time.monotonic() + self._giving.pause
        with asking_aside():
            while not closing.is_set():
                for _ in range(_AT_ONCE):
                    if not waiting or closing.is_set():
                        break
                    self._compare(waiting.popleft())
                if time.monotonic() >= flush_at:
                    self.flush()
                    flush_at = time.monotonic() + self._giving.pause
                if waiting:
                    time.sleep(0)  # lets go of the interpreter: whoever serves goes first
                else:
                    wake.wait(_EVERY)
        while waiting:
            self._drop(waiting.popleft().key)
        self.flush()

    def _compare(self, question: _Question) -> None:
        try:
            answers = self._answers(question)
            outcome = self._judged(question.key, answers)
        except Exception:  # noqa: BLE001  (whatever it is, it must not end the comparing)
            _log.exception('the answers for flag "%s" could not be compared', question.key)
            return
        key = question.key
        if key not in self._counts and len(self._counts) >= _FLAGS:
            key = OTHERS
        if outcome is not Outcome.MATCH:
            self._show(key, outcome, question, answers)
        counts = self._counts.setdefault(key, dict.fromkeys(Outcome, 0))
        counts[outcome] += 1

    def _show(
        self, key: str, outcome: Outcome, question: _Question, answers: Mapping[Side, Result]
    ) -> None:
        """Keep what a comparison looked like that did not match, before it is counted."""
        if outcome in _SIDES:
            self._errors[outcome] = answers[_SIDES[outcome]].error_message or ""
        if outcome in DIFFERENT or self._giving.wanted:
            shown = self._shown(question, outcome, answers)
            if outcome in DIFFERENT:
                self._mismatches.append(shown)
            if self._giving.wanted:
                self._examples[key, outcome] = Example(shown, time.monotonic())

    def _answers(self, question: _Question) -> Mapping[Side, Result]:
        answers = {}
        for one in Side:
            given = question.answer if one is question.side else None
            answers[one] = self._asked(one, question, given)
        return answers

    def _asked(self, one: Side, question: _Question, given: Result | None) -> Result:
        side = self._sides[one]
        if not side.fresh():
            return _no_answer(f"the {one} side has no fresh flags")
        if given is not None:
            return given
        try:
            return side.ask(question.key, question.context, question.kind)
        except Exception as error:  # noqa: BLE001  (a backend that breaks the seam's word)
            return _no_answer(type(error).__name__)

    def _judged(self, key: str, answers: Mapping[Side, Result]) -> Outcome:
        outcome = compared(answers[Side.OLD], answers[Side.NEW])
        if outcome in DIFFERENT and self._expected:
            today = self._today()
            if any(one.covers(key, today) for one in self._expected):
                return Outcome.EXPECTED
        return outcome

    def _shown(
        self, question: _Question, outcome: Outcome, answers: Mapping[Side, Result]
    ) -> Mismatch:
        return Mismatch(
            question.key,
            outcome,
            utc_now(),
            self._hashed(question.context.targeting_key),
            names_of(question.context),
            answered(answers[Side.OLD]),
            answered(answers[Side.NEW]),
        )

    def _hashed(self, targeting_key: str | None) -> str:
        if targeting_key is None:
            return ""
        given = self._salt + targeting_key.encode(errors="replace")
        return hashlib.sha256(given).hexdigest()[:_HASH]


def _no_answer(why: str) -> Result:
    return Result(
        None,
        reason=Reason.ERROR,
        error_code=ErrorCode.GENERAL,
        error_message=why,
        authoritative=False,
    )


def _held(context: Context) -> Context:
    """Return the context as it is now: callers may change their attributes afterwards.

    Lists and mappings among the attributes are copied, and not what is within those.
    """
    if context.kinds is not None:
        made = Context.multi(*map(_held, context.kinds.values()))
    else:
        attributes: Mapping[str, Any] = context.attributes
        if attributes:
            attributes = {
                name: value.copy() if type(value) in _CONTAINERS else value
                for name, value in attributes.items()
            }
        made = Context(context.targeting_key, attributes, context.kind)
    made.at = context.at
    return made
