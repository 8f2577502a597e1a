"""Percentages: monotone, of the right size, the same everywhere (rules E6, E7 and E10)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from math import sqrt
from typing import Final

import pytest

from downhaul import Flags
from downhaul.backends.edits import weight_of_variant
from downhaul.errors import Refused
from downhaul.flag import Flag
from downhaul.provider import Capability
from downhaul_contract_tests.backend import Feature, Offer, offers
from downhaul_contract_tests.base import CHANGE, Contract, needs
from downhaul_contract_tests.case import Case, enabled
from downhaul_contract_tests.seeds import USERS

_MANY: Final = tuple(f"user-{number}" for number in range(4_000))

VECTORS: Final = frozenset({10, 20, 21, 29, 32, 35, 36, 38, 39})
"""Who of the first forty users is within 25 % of ``contract-vectors`` (rule E6)."""


class PercentagesContract(Contract):
    """For every provider."""

    group = "percentages"

    @pytest.mark.rule("E7")
    @needs(Offer.CHANGE)
    def test_raising_a_percentage_only_adds_users(self, case: Case) -> None:
        """Who was in stays in; at 100 % everybody is, with or without a key.

        If this fails, check that a write of the percentage keeps the salt, the seed and the order
        of the variants.
        """
        seen = _at(case, (0, 10, 25, 50, 75, 100))
        assert all(one < two for one, two in pairwise(seen))
        assert (seen[0], seen[-1]) == (set(), set(USERS))

    @pytest.mark.rule("E7")
    @needs(Offer.CHANGE)
    def test_lowering_a_percentage_only_removes_users(self, case: Case) -> None:
        """Nobody comes in on the way down.

        If this fails, check that a write of the percentage keeps the salt, the seed and the order
        of the variants.
        """
        seen = _at(case, (75, 50, 10))
        assert all(one > two for one, two in pairwise(seen))

    @pytest.mark.rule("E7")
    @pytest.mark.parametrize("percent", [10, 50, 90])
    def test_a_share_is_what_it_says(self, case: Case, percent: int) -> None:
        """The share of 4,000 users lies within five standard deviations.

        If this fails, check the unit of the weight, and what is hashed.
        """
        case.seed(Flag.boolean("contract-share", percent=percent))
        found = len(enabled(case.client(), "contract-share", _MANY))
        assert _near(found, len(_MANY), percent / 100)

    @pytest.mark.rule("E7")
    def test_nought_is_nobody_and_a_hundred_is_everybody(self, case: Case) -> None:
        """The ends are exact.

        If this fails, check for ``<=`` where ``<`` was meant.
        """
        case.seed(
            Flag.boolean("contract-none", percent=0), Flag.boolean("contract-all", percent=100)
        )
        flags = case.client()
        assert enabled(flags, "contract-none", _MANY) == set()
        assert len(enabled(flags, "contract-all", _MANY)) == len(_MANY)

    @pytest.mark.rule("E7")
    @needs(Feature.FINE_PERCENTAGES)
    def test_a_fine_share_is_what_it_says(self, case: Case) -> None:
        """0.5 and 2.5 % are no whole percents, and are served.

        If this fails, check where a percentage is rounded.
        """
        case.seed(
            Flag.boolean("contract-fine", percent=0.5), Flag.boolean("contract-finer", percent=2.5)
        )
        flags = case.client()
        for key, share in (("contract-fine", 0.005), ("contract-finer", 0.025)):
            assert _near(len(enabled(flags, key, _MANY)), len(_MANY), share)

    @pytest.mark.rule("E7", "P6")
    @needs(Capability.READ, Capability.WRITE)
    def test_a_fine_percentage_holds_or_is_refused(self, case: Case) -> None:
        """What the backend would accept and not honour is refused, and changes nothing.

        If this fails, check ``set_rollout`` with 2,500 thousandths: a backend that knows whole
        percents only must refuse it, and the binding must say so in ``lacks``.
        """
        case.seed(Flag.boolean("contract-fine", percent=1))
        before = case.writer.get("contract-fine")
        if case.lacks(Feature.FINE_PERCENTAGES):
            with pytest.raises(Refused):
                case.writer.set_rollout("contract-fine", "on", 2_500, CHANGE)
            assert case.writer.get("contract-fine") == before
        else:
            written = case.writer.set_rollout("contract-fine", "on", 2_500, CHANGE)
            assert weight_of_variant(written, "on") == 2_500
            assert _near(len(enabled(case.client(), "contract-fine", _MANY)), 4_000, 0.025)

    @pytest.mark.rule("E6")
    def test_who_is_in_is_no_matter_of_the_process(self, case: Case) -> None:
        """A second client, made anew, serves the same users.

        If this fails, check for Python's ``hash``, and for randomness.
        """
        case.seed(Flag.boolean("contract-share", percent=25))
        with case.client() as flags:
            first = enabled(flags, "contract-share", USERS)
        assert enabled(case.client(), "contract-share", USERS) == first
        assert first

    @pytest.mark.rule("E6")
    def test_two_flags_have_other_users(self, case: Case) -> None:
        """Who is in by luck of one flag is not therefore in the next.

        If this fails, check that the flag's own key or salt is hashed with the user.
        """
        case.seed(
            Flag.boolean("contract-one", percent=50), Flag.boolean("contract-two", percent=50)
        )
        flags = case.client()
        one, two = (enabled(flags, key, _MANY) for key in ("contract-one", "contract-two"))
        assert _near(len(one & two), len(_MANY), 0.25)

    @pytest.mark.rule("E6")
    @needs(Capability.FLAG_SET, Feature.BUCKETS)
    def test_buckets_are_those_of_every_other_backend(self, case: Case) -> None:
        """The users of a percentage are frozen.

        If this fails, check that salt and bucketing of a split are published as they are kept.
        """
        case.seed(Flag.boolean("contract-vectors", percent=25))
        flags = case.client()
        assert enabled(flags, "contract-vectors", USERS[:40]) == {f"user-{n}" for n in VECTORS}
        assert enabled(flags, "contract-vectors", USERS) == _expected("contract-vectors", 25, USERS)

    @pytest.mark.rule("E10")
    @needs(Capability.READ, Capability.WRITE)
    @pytest.mark.parametrize("weight", [100, 2_500, 25_000, 99_999])
    def test_a_portable_rollout_has_the_same_users_everywhere(
        self, case: Case, weight: int
    ) -> None:
        """Declared portable, a flag serves exactly whom the core's own evaluator serves.

        If this fails, check that ``set_rollout`` of a flag that is declared portable writes the
        rule on the integer attribute, and that the attribute reaches the backend as a number.
        """
        if not case.has(Capability.FLAG_SET) and not offers(case.backend, "declare"):
            pytest.skip(f"declined: the backend of {case.writer.name} offers no declare")
        case.seed(Flag.boolean("contract-portable", percent=0), portable=True)
        writer = case.provider()
        writer.set_rollout("contract-portable", "on", weight, CHANGE)
        found = enabled(case.client(), "contract-portable", _MANY)
        assert found == _expected("contract-portable", weight / 1_000, _MANY)


def _at(case: Case, percents: Iterable[int]) -> list[set[str]]:
    """Return who is served at each of the percentages, one write after the other."""
    key = "contract-steps"
    case.seed(Flag.boolean(key, percent=5))
    seen = []
    for percent in percents:
        if case.has(Capability.WRITE):
            case.writer.set_rollout(key, "on", percent * 1_000, CHANGE)
        else:
            case.change(Flag.boolean(key, percent=percent))
        with case.client() as flags:
            case.eventually(
                lambda flags=flags, share=percent / 100: _near(  # type: ignore[misc]
                    len(enabled(flags, key, USERS)), len(USERS), share
                ),
                f"about {percent} % are served",
            )
            seen.append(enabled(flags, key, USERS))
    return seen


def _near(found: int, of: int, share: float) -> bool:
    """Whether a count lies within five standard deviations of a share."""
    return abs(found - of * share) <= 5 * sqrt(of * share * (1 - share))


def _expected(key: str, percent: float, users: Iterable[str]) -> set[str]:
    with Flags.in_memory([Flag.boolean(key, percent=percent)]) as flags:
        return enabled(flags, key, users)
