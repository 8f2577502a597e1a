"""The fixture ``flags`` and its markers: what a test says holds for that test alone."""

import pytest

pytestmark = pytest.mark.rule("E5")

APP = """
    from downhaul import Flag, Flags

    client = Flags.in_memory(
        [Flag.boolean("new_checkout", tags=("shop",)), Flag.boolean("other", percent=0)]
    )

    def greeting():
        return "new" if client.is_enabled("new_checkout", "user-1") else "old"

    @client.guarded_by("agents", otherwise="busy")
    def answer():
        return "done"
"""
USES_APP = """
    import pytest
    import app

    @pytest.fixture
    def downhaul_flags():
        return app.client
"""


def test_begins_with_the_flags_of_the_document_of_the_ini(run_tests):
    result = run_tests(
        """
        def test_flags(flags):
            assert flags.is_enabled("new_checkout", "user-1")
            assert not flags.is_enabled("old_checkout", "user-1")
            assert flags.value("tone", "user-1", "?") == "Hi."
        """
    )
    result.assert_outcomes(passed=1)


def test_a_document_that_is_refused_fails_the_test_with_every_problem(run_tests, pytester):
    run_tests("def test_flags(flags): pass").assert_outcomes(passed=1)
    (pytester.path / "flags.yaml").write_text("downhaul: 1\nflags: [{key: a, default: onn}]")
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*downhaul_flags_file: *flags.yaml*", '*did you mean "on"*'])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_without_a_document_there_are_no_flags_until_a_test_sets_some(plain_tests):
    result = plain_tests(
        """
        def test_flags(flags):
            assert not flags.is_enabled("new_checkout", "user-1")
            flags.set("new_checkout", True)
            assert flags.is_enabled("new_checkout", "user-1")
        """
    )
    result.assert_outcomes(passed=1)


def test_what_is_set_is_a_value_or_a_variant(run_tests):
    result = run_tests(
        """
        def test_flags(flags):
            flags.set("new_checkout", False)
            assert not flags.is_enabled("new_checkout", "user-1")
            flags.set("new_checkout", "on")
            assert flags.evaluate("new_checkout").variant == "on"
            flags.set("tone", "warm")
            assert flags.value("tone", None, "") == "Hello!"
            flags.set("tone", "Yo")
            assert flags.value("tone", None, "") == "Yo"
            with flags.override(tone="curt"):
                assert flags.value("tone", None, "") == "Hi."
        """
    )
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize(
    "key, value, says",
    [
        ("new_checkout", "onn", 'did you mean "on"?'),
        ("new_checkout", 1, "its variants are on, off"),
        ("tone", True, "its variants are warm, curt, none"),
    ],
)
def test_what_a_flag_cannot_answer_is_refused(run_tests, key, value, says):
    result = run_tests(f"def test_flags(flags): flags.set({key!r}, {value!r})")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*ValueError: *{says}"])


@pytest.mark.rule("K4", "K7")
def test_a_kill_covers_flag_tag_switch_and_everything(run_tests):
    result = run_tests(
        """
        from downhaul import Reason

        def test_flag(flags):
            flags.kill("new_checkout")
            result = flags.evaluate("new_checkout", "user-1", True)
            assert (result.value, result.variant, result.reason) == (False, "off", Reason.KILLED)
            assert result.metadata["kill"]["reason"] == "killed by a test"
            assert not flags.is_enabled("new_checkout", "user-1", True)
            assert flags.value("tone", None, "") == "Hi."

        def test_tag(flags):
            flags.kill("tag:shop")
            assert flags.evaluate("new_checkout").reason is Reason.KILLED
            assert flags.evaluate("old_checkout").reason is Reason.KILLED
            assert flags.evaluate("tone").reason is not Reason.KILLED

        def test_switch(flags):
            assert flags.is_up("agents")
            flags.kill("switch:agents")
            assert not flags.is_up("agents")
            assert flags.is_up("mail")

        def test_everything(flags):
            flags.kill("*")
            assert flags.evaluate("tone").variant == "none"
            assert not flags.is_up("agents")

        def test_unknown(flags):
            flags.kill("nowhere")
            assert not flags.is_enabled("nowhere", None, True)
        """
    )
    result.assert_outcomes(passed=5)


def test_all_of_it_resets_itself_even_after_a_failure(run_tests):
    result = run_tests(
        """
        import app

        def test_fails(flags):
            flags.set("new_checkout", False)
            flags.kill("switch:agents", "other")
            assert app.greeting() == "old"
            assert app.answer() == "busy"
            raise RuntimeError

        def test_is_reset():
            assert app.greeting() == "new"
            assert app.answer() == "done"
        """,
        app=APP,
        conftest=USES_APP,
    )
    result.assert_outcomes(passed=1, failed=1)


def test_markers_stack_and_the_closest_wins(run_tests):
    result = run_tests(
        """
        import pytest
        import app

        pytestmark = pytest.mark.flags(new_checkout=False)

        def test_of_module():
            assert app.greeting() == "old"

        @pytest.mark.flags(new_checkout=True)
        class TestOfClass:
            def test_of_class(self):
                assert app.greeting() == "new"

            @pytest.mark.flags({"new_checkout": "off"})
            def test_of_function(self):
                assert app.greeting() == "old"

            @pytest.mark.flags_killed("new_checkout", "switch:agents")
            def test_killed(self):
                assert app.greeting() == "old"
                assert app.answer() == "busy"
        """,
        app=APP,
        conftest=USES_APP,
    )
    result.assert_outcomes(passed=4)


def test_flags_both_runs_a_test_on_and_killed(run_tests):
    result = run_tests(
        """
        import pytest

        @pytest.mark.flags_both("old_checkout", "tone")
        def test_both(flags, flags_state):
            on = flags_state == "on"
            assert flags.is_enabled("old_checkout", "user-1") is on
            assert flags.value("tone", None, "?") == ("Hello!" if on else "")

        @pytest.mark.flags_both("new_checkout")
        @pytest.mark.parametrize("user", ["u1", "u2"])
        def test_names_no_fixture(user):
            pass
        """,
        "-v",
    )
    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(
        ["*test_both[[]old_checkout,tone=on[]]*", "*test_both[[]old_checkout,tone=killed[]]*"]
    )


def test_holds_in_every_thread_and_task_of_the_test(run_tests):
    result = run_tests(
        """
        import asyncio, concurrent.futures, threading
        import pytest
        import app

        asked, answers = threading.Event(), []
        go = threading.Semaphore(0)

        def serve():  # as a server's thread, which was there before the test
            while go.acquire() and not asked.is_set():
                answers.append(app.greeting())
                done.release()

        done = threading.Semaphore(0)
        server = threading.Thread(target=serve, daemon=True)

        @pytest.fixture(scope="module", autouse=True)
        def _server():
            server.start()
            yield
            asked.set()
            go.release()
            server.join()

        @pytest.mark.flags(new_checkout=False)
        def test_server():
            go.release(); done.acquire()
            assert answers.pop() == "old"

        def test_server_afterwards():
            go.release(); done.acquire()
            assert answers.pop() == "new"

        def test_pool(flags):
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                flags.set("new_checkout", False)
                assert set(pool.map(lambda _: app.greeting(), range(8))) == {"old"}

        def test_tasks(flags):
            async def main():
                flags.set("new_checkout", False)
                task = asyncio.create_task(asyncio.to_thread(app.greeting))
                return app.greeting(), await task
            assert asyncio.run(main()) == ("old", "old")
        """,
        app=APP,
        conftest=USES_APP,
    )
    result.assert_outcomes(passed=4)


def test_holds_in_asynchronous_tests(run_tests):
    result = run_tests(
        """
        import asyncio
        import pytest

        @pytest.fixture
        async def checkout(flags):
            with flags.override(tone="warm"):
                yield flags

        @pytest.mark.flags(old_checkout=True)
        async def test_async(flags, checkout):
            assert flags.is_enabled("old_checkout")
            flags.set("new_checkout", False)
            await asyncio.sleep(0)
            assert not flags.is_enabled("new_checkout")

        async def test_async_afterwards(flags):
            assert flags.is_enabled("new_checkout")
            assert flags.value("tone", None, "") == "Hi."
        """,
        "-o",
        "asyncio_mode=auto",
    )
    result.assert_outcomes(passed=2)


def test_two_tests_at_once_in_two_threads_do_not_disturb_each_other(run_tests):
    result = run_tests(
        """
        import threading
        import app
        from downhaul.integrations.pytest_flags import FlagsFixture

        def test_threads():
            barrier, seen = threading.Barrier(2, timeout=10), {}

            def one_test(value):
                mine = FlagsFixture(app.client)
                try:
                    mine.set("other", value)
                    barrier.wait()
                    inner = []
                    child = threading.Thread(
                        target=lambda: inner.append(app.client.is_enabled("other", "u"))
                    )
                    child.start()
                    child.join()
                    seen[value] = [app.client.is_enabled("other", "u"), *inner]
                    barrier.wait()
                finally:
                    mine.close()

            threads = [threading.Thread(target=one_test, args=[v]) for v in (True, False)]
            [one.start() for one in threads]
            [one.join() for one in threads]
            assert seen == {True: [True, True], False: [False, False]}
            assert not app.client.is_enabled("other", "u")
        """,
        app=APP,
    )
    result.assert_outcomes(passed=1)


def test_works_under_xdist(run_tests):
    result = run_tests(
        """
        import pytest
        import app

        @pytest.mark.parametrize("number", range(20))
        def test_set(flags, number):
            assert app.greeting() == "new"
            flags.set("new_checkout", bool(number % 2))
            assert app.greeting() == ("new" if number % 2 else "old")
        """,
        "-n",
        "2",
        app=APP,
        conftest=USES_APP,
    )
    result.assert_outcomes(passed=20)


def test_a_run_that_uses_nothing_of_it_imports_nothing_of_it(plain_tests, pytester):
    result = plain_tests(
        """
        import sys

        def test_plain():
            mine = [name for name in sys.modules if name.startswith("downhaul")]
            allowed = {
                "downhaul", "downhaul._version",
                "downhaul.integrations", "downhaul.integrations.pytest_plugin",
                # The contract suite is installed beside this, and is a plugin of its own.
                "downhaul_contract_tests", "downhaul_contract_tests.matrix",
                "downhaul_contract_tests.plugin",
            }
            assert set(mine) <= allowed, mine
        """
    )
    result = pytester.runpytest_subprocess("--setup-show")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*flags*")


def test_something_else_than_a_client_is_refused(run_tests):
    result = run_tests(
        """
        import pytest

        @pytest.fixture
        def downhaul_flags():
            return {"new_checkout": True}

        def test_flags(flags):
            pass
        """
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*downhaul_flags returned dict, not a downhaul.Flags"])
