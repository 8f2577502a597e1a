"""Files that can't be parsed, folders that shouldn't be entered, texts in every encoding."""

import errno
import os
import sys
from pathlib import Path

import pytest

from downhaul.errors import ConfigError
from downhaul.migrate.code import find_references

CALL = "from downhaul import Flags\nFlags.connect().is_enabled('k')\n"


def put(folder, path, data):
    place = folder / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data if isinstance(data, bytes) else data.encode())


def problems(found):
    return {problem.origin: problem.message for problem in found.problems}


def test_a_file_that_cannot_be_parsed_is_a_problem_and_the_others_are_scanned(tmp_path):
    put(tmp_path, "good.py", CALL)
    put(tmp_path, "broken.py", "x = 1\ndef f(:\n    pass\n")
    put(tmp_path, "old.py", "print 'two'\nexec 'x'\n")
    put(tmp_path, "null.py", b"x = 1\0\n")
    put(tmp_path, "bytes.py", b"x = '\xff\xfe'\n")
    put(tmp_path, "cookie.py", b"# coding: no-such-thing\nx = 1\n")
    put(tmp_path, "mixed.py", "if x:\n\tpass\n        pass\n")
    put(tmp_path, "braces.py", "(" * 5_000 + ")" * 5_000)
    put(tmp_path, "minus.py", "x = " + "-" * 100_000 + "1\n")
    put(tmp_path, "chain.py", "x = a" + ".is_enabled('k')" * 20_000 + "\n")
    put(tmp_path, "elses.py", "if a:\n    pass\n" + "elif b:\n    pass\n" * 20_000)
    found = find_references(tmp_path)
    assert [one.path for one in found] == ["good.py"]
    told = problems(found)
    assert set(told) == {
        "broken.py:2",
        "old.py:1",
        "null.py",
        "bytes.py",
        "cookie.py",
        "mixed.py:3",
        "braces.py:1",
        "minus.py",
        "chain.py",
        "elses.py",
    }
    assert "is no Python 3" in told["old.py:1"]
    assert "nested too deeply" in told["minus.py"]
    assert all(problem.hint for problem in found.problems)


@pytest.mark.parametrize("depth", [50, 150, 290])
def test_what_the_parser_can_read_is_never_too_deep(tmp_path, depth):
    put(
        tmp_path,
        "deep.py",
        "from downhaul import Flags\nflags = Flags.connect()\n"
        f"flags.is_enabled({' + '.join(['KEY'] * depth)})\n"
        f"x = a{'.b()' * depth}.is_enabled('likely')\n"
        f"flags{'.with_context(c)' * depth}.is_enabled('far')\n"
        f"y = {'-' * depth}1 if flags.is_enabled('after', u, {'not ' * depth}1) else 2\n"
        f"z = {'lambda: ' * depth}flags.is_enabled('inside')\n",
    )
    found = find_references(tmp_path)
    assert not found.problems
    assert [one.keys for one in found] == [(), ("likely",), ("far",), ("after",), ("inside",)]


def test_texts_are_decoded_as_python_does(tmp_path):
    head = "from downhaul import Flags\nf = Flags.connect()\n"
    put(tmp_path, "bom.py", b"\xef\xbb\xbf" + f"{head}'\u00e9'; f.is_enabled('\u00e9')\n".encode())
    latin = f"# -*- coding: latin-1 -*-\n{head}'\u00e9'; f.is_enabled('\u00e9')\n"
    put(tmp_path, "latin.py", latin.encode("latin-1"))
    put(tmp_path, "dos.py", f"{head}'\u00e9'; f.is_enabled('\u00e9')\n".replace("\n", "\r\n"))
    put(tmp_path, "mac.py", f"{head}'\u00e9'; f.is_enabled('\u00e9')\n".replace("\n", "\r"))
    put(tmp_path, "feed.py", f"{head}\f\n'\u2028'; f.is_enabled('\u00e9')\n")
    found = find_references(tmp_path)
    assert not found.problems
    assert [(one.path, one.keys, one.column) for one in found] == [
        (f"{name}.py", ("\u00e9",), 8) for name in ("bom", "dos", "feed", "latin", "mac")
    ]
    assert [one.line for one in found] == [3, 3, 4, 4, 3]


def test_warnings_of_scanned_code_are_nobodys_business(tmp_path):
    put(tmp_path, "odd.py", f"x = '\\d'\nx is 'a'\nassert (x, 'y')\n{CALL}")
    found = find_references(tmp_path)  # under warnings as errors, as all tests
    assert len(found) == 1
    assert not found.problems


def test_folders_of_others_are_left_out(tmp_path):
    for folder in (
        ".git",
        "node_modules/x",
        "a/__pycache__",
        ".tox/py",
        "build/lib",
        "a/dist",
        "x.egg-info",
        "lib/site-packages",
        "some-environment/lib",
        "kept/build",
        "kept",
        "",
    ):
        put(tmp_path, f"{folder}/m.py".lstrip("/"), CALL)
    put(tmp_path, "some-environment/pyvenv.cfg", "home = /usr")
    put(tmp_path, "kept/build/__init__.py", "")
    found = find_references(tmp_path)
    assert [one.path for one in found] == ["kept/build/m.py", "kept/m.py", "m.py"]


def test_an_ignore_file_leaves_out_more(tmp_path):
    for path in ("a.py", "a_pb2.py", "docs/x.py", "src/docs/x.py", "gen/deep/x.py", "tests/x.py"):
        put(tmp_path, path, CALL)
    put(tmp_path, ".downhaulignore", "# ours\n\n*_pb2.py\n/docs/*\ngen/\nno*thing/\n!a.py\n")
    found = find_references(tmp_path)
    assert [one.path for one in found] == ["a.py", "src/docs/x.py", "tests/x.py"]
    assert set(problems(found)) == {".downhaulignore:7"}


def test_links_do_not_go_round_in_circles_nor_out_in_silence(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    put(root, "a/m.py", CALL)
    put(outside, "m.py", CALL)
    (root / "a" / "loop").symlink_to(root, target_is_directory=True)
    (root / "again").symlink_to(root / "a", target_is_directory=True)
    (root / "again.py").symlink_to(root / "a" / "m.py")
    (root / "broken.py").symlink_to(root / "nothing")
    (root / "out").symlink_to(outside, target_is_directory=True)
    (root / "out.py").symlink_to(outside / "m.py")
    (root / "node_modules").symlink_to(outside, target_is_directory=True)
    found = find_references(root)
    assert [one.path for one in found] == ["a/m.py"]
    assert set(problems(found)) == {"out", "out.py"}


def test_what_is_no_file_is_not_opened(tmp_path):
    put(tmp_path, "m.py", CALL)
    os.mkfifo(tmp_path / "pipe.py")
    assert len(find_references(tmp_path)) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_must_not_be_read_is_a_problem(tmp_path):
    put(tmp_path, "shut.py", CALL)
    put(tmp_path, "shut/m.py", CALL)
    (tmp_path / "shut.py").chmod(0)
    (tmp_path / "shut").chmod(0)
    try:
        assert set(problems(find_references(tmp_path))) == {"shut.py", "shut"}
    finally:
        (tmp_path / "shut").chmod(0o700)


def test_what_refuses_to_be_looked_at_is_a_problem(tmp_path, monkeypatch):
    """As above, for root too: what the system would say to others, said by hand."""
    put(tmp_path, "good.py", CALL)
    put(tmp_path, "shut.py", CALL)
    put(tmp_path, "shut.html", "x")
    put(tmp_path, "shut/m.py", CALL)

    def refusing(original):
        def look(place, *args, **kwargs):
            if "shut" in str(place).removeprefix(str(tmp_path)):
                raise PermissionError(errno.EACCES, "Permission denied", str(place))
            return original(place, *args, **kwargs)

        return look

    monkeypatch.setattr(os, "scandir", refusing(os.scandir))
    for name in ("exists", "is_file", "read_bytes"):
        monkeypatch.setattr(Path, name, refusing(getattr(Path, name)))
    found = find_references(tmp_path)
    assert [one.path for one in found] == ["good.py"]
    assert set(problems(found)) == {"shut.py", "shut.html", "shut"}


def test_a_root_that_is_no_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no folder"):
        find_references(tmp_path / "nothing")


def test_a_folder_that_is_itself_a_link_is_scanned(tmp_path):
    put(tmp_path, "real/m.py", CALL)
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    assert [one.path for one in find_references(str(tmp_path / "link"))] == ["m.py"]


def test_nothing_that_is_scanned_is_run(tmp_path, capsys):
    put(tmp_path, "m.py", f"print('ran')\nimport sys\nsys.exit(3)\n{CALL}")
    sys.modules.pop("m", None)
    assert len(find_references(tmp_path)) == 1
    assert not capsys.readouterr().out
    assert "m" not in sys.modules


def test_progress_and_counts_are_told(tmp_path):
    put(tmp_path, "a.py", CALL)
    put(tmp_path, "b.py", "(")
    put(tmp_path, "c.html", "{% load waffle_tags %}\n{% flag 'x' %}{% endflag %}\n")
    told = []
    found = find_references(tmp_path, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert (found.files, found.lines) == (3, 4)


def test_two_scans_of_one_folder_are_the_same(tmp_path):
    for name in "zyx":
        put(tmp_path, f"{name}/m.py", CALL)
    assert find_references(tmp_path) == find_references(tmp_path)


def test_a_constant_that_grows_without_end_is_not_worked_out(tmp_path):
    doubled = "".join(f"K{n + 1} = K{n} + K{n}\n" for n in range(40))
    wide = "".join(f"W{n} = 'a' if x else 'b'\n" for n in range(30))
    texts = " + ".join(f"W{n}" for n in range(30))
    put(
        tmp_path,
        "m.py",
        "from downhaul import Flags\nf = Flags.connect()\nK0 = 'k'\n"
        f"{doubled}{wide}f.is_enabled(K40)\nf.is_enabled({texts})\n",
    )
    found = find_references(tmp_path)
    assert [one.dynamic for one in found] == ["K40", texts[:119] + "…"]


@pytest.mark.slow
def test_a_file_of_fifty_thousand_lines_takes_seconds(tmp_path, record_property):
    import time

    lines = "".join(
        f"def f{n}(user):\n    if flags.is_enabled('f{n}', user):\n        return [user, {n}]\n"
        "    return None\n\n"
        for n in range(10_000)
    )
    put(tmp_path, "m.py", f"from downhaul import Flags\nflags = Flags.connect()\n{lines}")
    started = time.perf_counter()
    found = find_references(tmp_path)
    took = time.perf_counter() - started
    record_property("lines_per_second", found.lines / took)
    assert len(found.by_key()) == 10_000
    assert took < 30
