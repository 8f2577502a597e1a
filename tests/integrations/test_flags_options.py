"""Runs of a whole suite: strict about unknown flags, with everything killed, or with a report."""

import pytest

pytestmark = pytest.mark.rule("E5")

APP = """
    from downhaul import Flags

    client = Flags.in_memory()

    def swallows(flags):
        try:
            return flags.is_enabled("new_chekout", "user-1", default=True)
        except Exception:
            return None
"""


@pytest.mark.rule("E3")
def test_strict_fails_a_test_that_reads_an_unknown_flag_and_names_it(run_tests):
    result = run_tests(
        """
        import app

        def test_known(flags):
            flags.is_enabled("new_checkout")
            flags.value("tone", None, "")

        def test_unknown(flags):
            assert app.swallows(flags)

        def test_fails_by_itself(flags):
            assert app.swallows(flags)
            raise RuntimeError("its own failure")

        def test_another_client():
            assert app.swallows(app.client)
        """,
        "--flags-strict",
        app=APP,
    )
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(
        [
            'app.py:7: no flag "new_chekout" is known (did you mean "new_checkout"[?])',
            "*RuntimeError: its own failure",
            "*unknown flags*",
            'app.py:7: no flag "new_chekout" is known (did you mean "new_checkout"[?])',
        ]
    )


def test_strict_refuses_to_set_what_nobody_knows(run_tests, pytester):
    tests = """
        import pytest

        def test_set(flags):
            flags.set("new_chekout", True)

        def test_kill(flags):
            flags.kill("tag:shopp")

        @pytest.mark.flags(new_chekout=True)
        def test_marked():
            pass
        """
    run_tests(tests).assert_outcomes(passed=3)
    result = run_tests(tests, "-o", "downhaul_flags_strict=true")
    result.assert_outcomes(failed=2, errors=1)
    result.stdout.fnmatch_lines(['*no flag "new_chekout" is known*', '*no tag "shopp" is known*'])


def test_strict_without_any_flags_says_where_they_come_from(plain_tests):
    result = plain_tests('def test_it(flags): flags.is_enabled("a")', "--flags-strict")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*set downhaul_flags_file, or override the fixture*"])


@pytest.mark.rule("K2", "K7")
def test_killed_runs_all_tests_on_the_off_path(run_tests):
    result = run_tests(
        """
        from downhaul import Reason

        def test_off_path(flags):
            assert flags.evaluate("new_checkout").reason is Reason.KILLED
            assert flags.evaluate("tone").variant == "none"
            assert not flags.is_up("agents")

        def test_what_a_test_sets_still_holds(flags):
            flags.set("new_checkout", True)
            assert flags.is_enabled("new_checkout")
        """,
        "--flags-killed",
    )
    result.assert_outcomes(passed=2)


def test_killed_reaches_tests_that_name_no_fixture(run_tests):
    result = run_tests(
        """
        import app

        def test_plain():
            assert not app.client.is_enabled("checkout", "user-1")
        """,
        "--flags-killed",
        app="""
            from downhaul import Flag, Flags
            client = Flags.in_memory([Flag.boolean("checkout")])
        """,
        conftest="""
            import app
            import pytest

            @pytest.fixture
            def downhaul_flags():
                return app.client
        """,
    )
    result.assert_outcomes(passed=1)


REPORTED = """
    import pytest

    def test_on(flags):
        assert flags.is_enabled("new_checkout", "user-1")

    @pytest.mark.flags_both("new_checkout")
    def test_both(flags):
        flags.evaluate_many("new_checkout", ["u1", "u2"])
        flags.value("tone", None, "")
        flags.is_enabled("typo")
    """


@pytest.mark.parametrize(
    "workers", [(), pytest.param(("-n", "2"), marks=pytest.mark.slow)], ids=["here", "xdist"]
)
def test_report_tells_which_variants_no_test_saw(run_tests, workers):
    result = run_tests(REPORTED, "--flags-report", *workers)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        [
            "*flags that the tests read*",
            "new_checkout  off in 1, on in 2",
            "old_checkout  never read",
            "tone          curt in 2; never warm, none",
            "typo          FLAG_NOT_FOUND in 2; nobody knows it",
            "1 of 3 known flags were seen in every variant",
        ],
        consecutive=True,
    )


def test_nothing_of_it_stays_behind(run_tests):
    from downhaul import Flags

    before = Flags.is_enabled, Flags.evaluate, Flags.evaluate_many
    run_tests(REPORTED, "--flags-report", "--flags-strict")
    assert (Flags.is_enabled, Flags.evaluate, Flags.evaluate_many) == before
