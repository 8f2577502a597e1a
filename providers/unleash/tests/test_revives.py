"""A revive on a real server: what was served before the kill is served to nobody again."""

import uuid

import pytest
from stubs_unleash import ANA, client, eventually, managing

from downhaul.backends.memory_control import MemoryControl
from downhaul.flag import Flag
from downhaul.result import Reason

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("unleash")]

USERS = [f"user-{number}" for number in range(200)]


@pytest.mark.rule("K5")
@pytest.mark.parametrize("refresh", [0.2, 1.5])
def test_no_process_serves_the_old_percentage_after_a_revive(unleash, refresh):
    """The flag is on at Unleash all the while: it alone knows of no kill."""
    key = f"revived-{uuid.uuid4().hex[:8]}"
    desk = managing(unleash)
    desk.put(Flag.boolean(key, percent=50), ANA)
    with client(managing(unleash, refresh=refresh), key, control=MemoryControl()) as flags:

        def served():
            return sum(flags.is_enabled(key, user) for user in USERS)

        assert served() > 60
        with flags.operator("ana") as operator:
            operator.kill(key, reason="it is wrong")
            desk.switch_on(key, ANA)
            unleash.settle()
            eventually(lambda: flags.status().provider.age < refresh, "the server was asked")
            result = operator.revive(key, reason="it is well")
        assert any("each process lifts it" in one for one in result.warnings)
        seen = {served()}

        def lifted():
            seen.add(served())
            return flags.evaluate(key, "ana", default=None).reason is not Reason.KILLED

        eventually(lifted, "the kill is lifted")
        seen.add(served())
        assert max(seen) < 10
        assert desk.get(key).default.weights[0].weight == 1  # of a hundred
