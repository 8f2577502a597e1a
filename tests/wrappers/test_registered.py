"""Where flags stand is read from the control store: followed by who serves, looked up by others."""

import os
import time

import pytest

from downhaul.backends.memory import MemoryProvider
from downhaul.backends.sqlite import SqliteProvider
from downhaul.client.flags import Flags
from downhaul.config import resolve
from downhaul.control import Operator
from downhaul.errors import Unreachable
from downhaul.flag import WHOLE, Flag, FlagSet
from downhaul.migrate.cutover import Step
from downhaul.migrate.moving import cut_over, move_back
from downhaul.migrate.stages import Stages
from downhaul.plugins import build_provider
from downhaul.provider import Change
from downhaul.result import ErrorCode
from downhaul.staging import Stage, Standing
from downhaul.store import schema
from downhaul.wrappers.registered import Registered
from downhaul.wrappers.standings import Move

ANA = Change("ana", "a test")


def wait_for(holds, seconds=10):
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.01)


def side(name, on):
    provider = MemoryProvider(FlagSet.of([Flag.boolean("agent", on=on)]))
    provider.name = name
    return provider


@pytest.fixture
def database(tmp_path):
    provider = SqliteProvider(tmp_path / "control.db", environment="default/migration")
    schema.upgrade(provider.database)
    yield provider
    provider.close()


@pytest.fixture
def register(database):
    return Stages(database)


def follower(tmp_path):
    return SqliteProvider(tmp_path / "control.db", environment="default/migration")


def stand(register, *args, **fields):
    before = register.get("agent")
    version = "" if before is None else before.version
    return register.put(
        Move("agent", Standing(*args), "old", "new", version=version, **fields), ANA
    )


@pytest.mark.rule("M4")
def test_a_move_is_followed_and_a_move_back_too(tmp_path, register):
    stand(register, Stage.SHADOW, WHOLE, True)
    staged = Registered(side("old", True), side("new", True), follower(tmp_path))
    with Flags.over(staged, ready_within=10) as flags:
        assert flags.evaluate("agent", "u", None).provider == "old"
        stand(register, Stage.LIVE, WHOLE, True)
        wait_for(lambda: flags.evaluate("agent", "u", None).provider == "new")
        stand(register, Stage.SHADOW, WHOLE, True)
        wait_for(lambda: flags.evaluate("agent", "u", None).provider == "old")


def test_a_flag_that_the_register_does_not_name_is_the_old_sides(tmp_path, register):
    staged = Registered(side("old", True), side("new", False), follower(tmp_path))
    with Flags.over(staged, ready_within=10) as flags:
        assert flags.evaluate("agent", "u", None).provider == "old"


def test_nobody_is_asked_before_it_is_known_whom_to_ask(tmp_path):
    missing = SqliteProvider(tmp_path / "nowhere" / "control.db", environment="default/migration")
    staged = Registered(side("old", True), side("new", False), missing)
    with Flags.over(staged, ready_within=0.2) as flags:
        result = flags.evaluate("agent", "u", default=False)
        assert result.error_code is ErrorCode.PROVIDER_NOT_READY
        assert result.value is False
        assert flags.status().state == "NOT_READY"
        assert "the register of stages is" in flags.status().provider.message


def test_what_is_configured_holds_until_it_is_known(tmp_path):
    missing = SqliteProvider(tmp_path / "nowhere" / "control.db", environment="default/migration")
    staged = Registered(side("old", False), side("new", True), missing, Standing(Stage.COMPLETE))
    with Flags.over(staged, ready_within=1) as flags:
        assert flags.evaluate("agent", "u", default=False).provider == "new"


def test_a_register_that_goes_away_is_told_and_what_it_said_holds(tmp_path, register, database):
    stand(register, Stage.LIVE, WHOLE, True)
    staged = Registered(side("old", True), side("new", True), follower(tmp_path))
    with Flags.over(staged, ready_within=10) as flags:
        database.close()
        (tmp_path / "control.db").rename(tmp_path / "gone.db")
        wait_for(lambda: flags.status().state == "STALE", 20)
        assert flags.evaluate("agent", "u", None).provider == "new"
        (tmp_path / "gone.db").rename(tmp_path / "control.db")


def test_who_writes_looks_first_and_writes_where_the_flag_stands(tmp_path, register):
    old, new = side("old", True), side("new", True)
    staged = Registered(old, new, follower(tmp_path))
    with Operator(staged, old.control, actor="ana") as operator:
        operator.off("agent")
        assert (old.get("agent").on, new.get("agent").on) == (False, True)
        stand(register, Stage.DUAL_WRITE)
        operator.on("agent")
        operator.off("agent")
        assert (old.get("agent").on, new.get("agent").on) == (False, False)


def test_what_one_side_lacks_is_written_down_and_holds_the_flag(tmp_path, register):
    class Broken(MemoryProvider):
        def set_rollout(self, *_args):
            raise Unreachable("the answer was 503", provider="new")

    old = side("old", True)
    new = Broken(FlagSet.of([Flag.boolean("agent")]))
    stand(register, Stage.DUAL_WRITE, WHOLE, True)
    with Operator(Registered(old, new, follower(tmp_path)), old.control, actor="ana") as operator:
        operator.percent("agent", 30)
    assert old.get("agent").default.weights[0].weight == 30_000
    assert "lacks set_rollout: the answer was 503" in register.get("agent").unsynced


def test_a_register_that_cannot_be_read_stops_a_write_before_it(tmp_path):
    old = side("old", True)
    missing = SqliteProvider(tmp_path / "nowhere" / "control.db", environment="default/migration")
    with (
        Operator(Registered(old, side("new", True), missing), old.control, actor="ana") as operator,
        pytest.raises(Unreachable),
    ):
        operator.off("agent")
    assert old.get("agent").on is True


@pytest.mark.rule("P3")
def test_a_forked_child_follows_moves_too(tmp_path, register):
    stand(register, Stage.SHADOW, WHOLE, True)
    staged = Registered(side("old", True), side("new", True), follower(tmp_path))
    with Flags.over(staged, ready_within=10) as flags:
        assert flags.evaluate("agent", "u", None).provider == "old"
        reads, writes = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.read(reads, 1)
                wait_for(lambda: flags.evaluate("agent", "u", None).provider == "new")
                os._exit(0)
            finally:
                os._exit(1)
        stand(register, Stage.LIVE, WHOLE, True)
        os.write(writes, b"x")
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        os.close(reads)
        os.close(writes)


def test_a_store_that_keeps_its_own_kills_is_followed_without_another(tmp_path):
    """Where `migrate cutover` writes is where the application looks."""
    settings = resolve(
        {
            "provider": {
                "url": f"sqlite:///{tmp_path}/old.db",
                "wrap": ["staged"],
                "staged": {"to": f"sqlite:///{tmp_path}/new.db"},
            }
        },
        environ={},
        directory=tmp_path,
    )
    for name in ("old", "new"):
        store = SqliteProvider(tmp_path / f"{name}.db")
        schema.upgrade(store.database)
        store.put(Flag.boolean("agent", on=name == "new"), ANA)
        store.close()
    register = SqliteProvider(tmp_path / "old.db", environment="default/migration")
    Stages(register).put(Move("agent", Standing(Stage.SHADOW), "a", "b"), ANA)
    with Flags.over(build_provider(settings), ready_within=10) as flags:
        assert flags.is_enabled("agent", "u") is False
        cut_over(settings, ["agent"], Step(unverified=True), actor="ana")
        wait_for(lambda: flags.is_enabled("agent", "u") is True)
    register.close()


def test_all_of_it_by_configuration(tmp_path):
    settings = resolve(
        {
            "provider": {
                "url": f"sqlite:///{tmp_path}/old.db",
                "wrap": ["staged"],
                "staged": {"to": f"sqlite:///{tmp_path}/new.db", "sample": 1.0},
            },
            "control": {"url": f"sqlite:///{tmp_path}/control.db"},
        },
        environ={},
        directory=tmp_path,
    )
    for name in ("old", "new", "control"):
        store = SqliteProvider(tmp_path / f"{name}.db")
        schema.upgrade(store.database)
        if name != "control":
            store.put(Flag.boolean("agent", owner=name), ANA)
        store.close()
    register = SqliteProvider(tmp_path / "control.db", environment="default/migration")
    Stages(register).put(Move("agent", Standing(Stage.DUAL_WRITE, in_step=True), "a", "b"), ANA)
    with Flags.over(build_provider(settings), ready_within=10) as flags:
        wait_for(lambda: flags.status().state == "READY")
        cut_over(settings, ["agent"], Step(), actor="ana")
        (moved,) = cut_over(settings, ["agent"], Step(share=50_000), actor="ana")
        assert moved.after.standing == Standing(Stage.LIVE, 50_000, in_step=True)
        new = {f"u{n}" for n in range(100) if moved.after.standing.of("agent", f"u{n}") == "live"}
        assert 30 < len(new) < 70
        wait_for(lambda: flags.evaluate("agent", next(iter(new)), None).provider == "sqlite")
        move_back(settings, ["agent"], actor="ana")
    register.close()
