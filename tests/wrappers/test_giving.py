"""What was counted reaches a sink exactly once, whatever fails when."""

import threading
import uuid
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downhaul.backends.sqlite import database_at
from downhaul.errors import Unreachable
from downhaul.store import schema
from downhaul.store.comparisons import Comparisons
from downhaul.wrappers import giving
from downhaul.wrappers.comparisons import Outcome
from downhaul.wrappers.giving import Giving

DAY = 86_400.0


class Into:
    """Adds batches to a store under one pair, and fails as it is told: `before`, `after`, or not.

    After: the batch is added, and the answer is lost.
    """

    def __init__(self, store, pair):
        self.store, self.pair, self.fails = store, pair, None

    def add(self, batch):
        if self.fails == "before":
            raise Unreachable("away")
        counts = {key: {str(one): n for one, n in it.items()} for key, it in batch.counts.items()}
        self.store.add(batch.writer, batch.number, self.pair, counts)
        if self.fails == "after":
            raise Unreachable("no answer")


class Process:
    """Counts, as a comparer does, and gives what it counted."""

    def __init__(self, sink):
        self.sink = sink
        self.giving = Giving(sink, 10.0)
        self.counts = {}

    def count(self, flag, outcome, many):
        counts = self.counts.setdefault(flag, dict.fromkeys(Outcome, 0))
        counts[outcome] += many

    def give(self, fails):
        self.sink.fails = fails
        self.giving.give(lambda: {key: dict(one) for key, one in self.counts.items()}, {})

    def fork(self):
        """Go on as a child does: with nothing counted, and as another writer."""
        self.giving.begin()
        self.counts = {}


flags = st.sampled_from(["agent", "checkout", "search"])
steps = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.tuples(st.just("count"), flags, st.sampled_from(Outcome), st.integers(1, 1000))
        | st.tuples(st.just("give"), st.sampled_from([None, "before", "after"]))
        | st.tuples(st.just("fork")),
    ),
    max_size=40,
)


def check_sums(store, steps):
    """Do the steps with three processes; what stands in the store is what they counted."""
    pair = uuid.uuid4().hex
    processes = [Process(Into(store, pair)) for _ in range(3)]
    counted = Counter()
    for which, (what, *given_) in steps:
        process = processes[which]
        if what == "count":
            flag, outcome, many = given_
            counted[flag, str(outcome)] += many
            process.count(flag, outcome, many)
        elif what == "give":
            process.give(*given_)
        else:
            process.give(None)  # the parent gives its own
            process.fork()
    for process in processes:
        process.give(None)
    found = {
        (one.flag, one.outcome): one.count for one in store.kept(DAY).counts if one.pair == pair
    }
    assert found == dict(counted)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    database = database_at(tmp_path_factory.mktemp("giving") / "control.db")
    schema.upgrade(database)
    return Comparisons(database, "production")


@pytest.fixture(scope="module")
def server(module_postgres):
    from downhaul.config import resolve
    from downhaul.plugins import build_provider

    provider = build_provider(resolve(module_postgres, cache_dir=None, environ={}))
    schema.upgrade(provider.database)
    yield Comparisons(provider.database, "production")
    provider.close()


@pytest.mark.slow
@pytest.mark.rule("M3")
@given(steps)
def test_sums_are_exact_over_processes_and_retries_whatever_fails_when(embedded, steps):
    check_sums(embedded, steps)


@pytest.mark.rule("M3")
@given(steps)
def test_sums_are_exact_on_a_server_too(server, steps):
    check_sums(server, steps)


class Remembering:
    """Takes each batch once, as a store does."""

    def __init__(self):
        self.last, self.total, self.given, self.fails = {}, Counter(), [], None

    def add(self, batch):
        if self.fails == "before":
            raise OSError("away")
        self.given.append(batch)
        if batch.number > self.last.get(batch.writer, 0):
            self.last[batch.writer] = batch.number
            for key, outcomes in batch.counts.items():
                for outcome, many in outcomes.items():
                    self.total[key, outcome] += many
        if self.fails == "after":
            raise OSError("no answer")


@pytest.mark.rule("M3")
@given(steps, st.integers(1, 3))
def test_sums_are_exact_in_pieces_of_any_size(steps, piece):
    sink, counted = Remembering(), Counter()
    process = Process(sink)
    before, giving.PIECE = giving.PIECE, piece
    try:
        for _, (what, *given_) in steps:
            if what == "count":
                flag, outcome, many = given_
                counted[flag, outcome] += many
                process.count(flag, outcome, many)
            elif what == "give":
                process.give(*given_)
        process.give(None)
    finally:
        giving.PIECE = before
    assert sink.total == counted
    assert all(len(batch.counts) <= piece for batch in sink.given)


def test_a_batch_that_failed_comes_again_as_it_was_before_what_was_counted_since():
    process = Process(sink := Remembering())
    process.count("agent", Outcome.MATCH, 1)
    process.give("after")
    process.count("agent", Outcome.MATCH, 5)
    process.give(None)
    first, again, second = sink.given
    assert first is again
    assert second.counts == {"agent": {Outcome.MATCH: 5}}
    assert (first.number, second.number, first.writer) == (1, 2, second.writer)


def test_a_sink_that_goes_on_failing_is_asked_less_and_less_and_at_once_when_it_is_back():
    process = Process(Remembering())
    process.count("agent", Outcome.MATCH, 1)
    pauses = []
    for _ in range(5):
        process.give("before")
        pauses.append(process.giving.pause)
    assert pauses == [20, 40, 60, 60, 60]
    process.give(None)
    assert process.giving.pause == 10


def test_two_who_give_at_once_take_turns():
    sink, inside, most = Remembering(), [], []
    whole = sink.add

    def add(batch):
        inside.append(batch)
        most.append(len(inside))
        threading.Event().wait(0.01)
        whole(batch)
        inside.remove(batch)

    sink.add = add
    process = Process(sink)
    process.count("agent", Outcome.MATCH, 3)
    threads = [threading.Thread(target=process.give, args=(None,)) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sink.total == {("agent", Outcome.MATCH): 3}
    assert max(most) == 1
