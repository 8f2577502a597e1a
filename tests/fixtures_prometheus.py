"""A real Prometheus for tests, and exporters that it scrapes, whose counters a test moves.

The server is the one on PATH, or else the Debian package's, which is downloaded once into the
user's cache folder and unpacked there; no service is installed.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import filelock
import pytest
import requests

SCRAPE = 0.2  # seconds between two scrapes
_START_LIMIT = 60.0
_PLACES = 60  # for exporters of a module's tests, each at a port of its own


def _missing(what: str) -> None:
    """Skip on a developer's machine; fail where CI should have it."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


def prometheus_program() -> str:
    """Return the path of the program, after fetching it if it isn't there yet."""
    found = shutil.which("prometheus")
    if found is not None:
        return found
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "downhaul-tests" / "prometheus"
    program = folder / "usr" / "bin" / "prometheus"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{folder}.lock"):
        if not program.exists():
            _unpack(folder)
    return str(program)


def _unpack(folder: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        _missing("prometheus is not on PATH, and this is no Debian to fetch its package from")
    with tempfile.TemporaryDirectory() as aside:
        told = _download(aside)
        if told and os.geteuid() == 0:  # a fresh machine has no lists of packages
            subprocess.run(["apt-get", "update", "-qq"], capture_output=True, check=False)
            told = _download(aside)
        if told:
            _missing(f"prometheus is not on PATH, and its package can't be fetched: {told[-400:]}")
        (package,) = Path(aside).glob("prometheus_*.deb")
        half = Path(f"{folder}.half")
        shutil.rmtree(half, ignore_errors=True)
        subprocess.run(["dpkg-deb", "-x", package, half], check=True)
        shutil.rmtree(folder, ignore_errors=True)
        half.rename(folder)


def _download(folder: str) -> str:
    command = ["apt-get", "download", "-qq", "prometheus"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return ended.stderr.strip() or "no reason given" if ended.returncode else ""


class Exporter:
    """One instance of an application: a page with counters, in a thread of the test.

    ``counters`` holds a number by series, each written as Prometheus' text has it. Without
    ``start_time`` it is an application that doesn't say when its process started.
    """

    def __init__(self, prometheus: str, *, start_time: float | None = None, port: int = 0) -> None:
        self.counters: dict[str, float] = {}
        self.start_time = start_time
        self.broken = False
        self._prometheus = prometheus
        self._lock = threading.Lock()
        exporter = self

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with exporter._lock:
                    text = exporter._page()
                self.send_response(503 if exporter.broken else 200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(text.encode())

            def log_message(self, *parts: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Page)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def _page(self) -> str:
        lines = ["# TYPE web_requests_total counter", "# TYPE web_seconds histogram"]
        lines += [f"{series} {value!r}" for series, value in sorted(self.counters.items())]
        if self.start_time is not None:
            lines.append(f"process_start_time_seconds {self.start_time!r}")
        return "\n".join([*lines, ""])

    def add(self, series: str, many: float = 1) -> None:
        with self._lock:
            self.counters[series] = self.counters.get(series, 0) + many

    def restart(self, *, start_time: float | None = None) -> None:
        """Forget all counts, as a process that is started anew."""
        with self._lock:
            self.counters.clear()
            self.start_time = start_time

    def drop(self, series: str) -> None:
        """Show a series no more."""
        with self._lock:
            del self.counters[series]

    def scraped(self, times: int = 1) -> None:
        """Return when it was scraped so often again: what was counted before is known then.

        That is when Prometheus has it. While it is broken, scrapes that failed count.
        """
        called, limit = time.time(), time.monotonic() + 60
        query = f'up{{instance="{self.address}"}}[1m]'
        wanted = "0" if self.broken else "1"
        while time.monotonic() < limit:
            with contextlib.suppress(requests.RequestException, ValueError):
                answer = requests.get(
                    f"{self._prometheus}/api/v1/query", {"query": query}, timeout=5
                )
                found = answer.json()["data"]["result"]
                values = found[0]["values"] if found else []
                good = [at for at, value in values if at > called and value == wanted]
                if len(good) >= times:
                    return
            time.sleep(0.03)  # nothing tells of it; what waits is this loop, with its limit
        message = f"{self.address} is not scraped"
        raise AssertionError(message)

    def edge(self) -> int:
        """Return a moment after all that was counted and before all that will, in microseconds.

        A scrape bears the time of its beginning, so none may be under way when it returns.
        """
        self.scraped()
        at = time.time_ns() // 1000
        self.scraped()
        return at

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _held_port() -> socket.socket:
    one = socket.socket()
    one.bind(("127.0.0.1", 0))
    return one


class PrometheusServer:
    """One server on a folder, that can be paused, killed and started again.

    It looks for exporters at some ports from its start, because what is told to it later by
    :meth:`find` takes it five seconds to notice.
    """

    def __init__(self, folder: Path, places: int = 4) -> None:
        self.program = prometheus_program()
        self.folder = folder
        self._held = [_held_port() for _ in range(places)]
        with _held_port() as one:
            self.port = int(one.getsockname()[1])
        known = ", ".join(f"'127.0.0.1:{one.getsockname()[1]}'" for one in self._held)
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "prometheus.yml").write_text(
            f"""
global:
  scrape_interval: {round(SCRAPE * 1000)}ms
  scrape_timeout: {round(SCRAPE * 1000)}ms
scrape_configs:
- job_name: web
  static_configs:
  - targets: [{known}]
  file_sd_configs:
  - files: [{folder}/targets.json]
"""
        )
        self.find()

    def exporter(self, *, start_time: float | None = None) -> Exporter:
        """Return an exporter at a port where nobody was before, which is scraped at once."""
        held = self._held.pop()
        port = held.getsockname()[1]
        held.close()
        return Exporter(self.url, start_time=start_time, port=port)

    def find(self, *exporters: Exporter) -> None:
        """Tell it of these exporters, and no others, beside those that it looks for anyhow."""
        file = self.folder / "targets.json"
        half = self.folder / "targets.half"
        half.write_text(json.dumps([{"targets": [one.address for one in exporters]}]))
        half.rename(file)

    def start(self) -> None:
        with (self.folder / "prometheus.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self.program,
                    f"--config.file={self.folder}/prometheus.yml",
                    f"--storage.tsdb.path={self.folder}/data",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    "--log.level=warn",
                ],
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        limit = time.monotonic() + _START_LIMIT
        while time.monotonic() < limit:
            with contextlib.suppress(requests.RequestException):
                if requests.get(f"{self.url}/-/ready", timeout=2).ok:
                    return
            assert self._process.poll() is None, self.last_words()
            time.sleep(0.05)  # nothing tells of it; what waits is this loop, with its limit
        raise AssertionError(self.last_words())

    def last_words(self) -> str:
        return (self.folder / "prometheus.log").read_text(errors="replace")[-2000:]

    def stop(self) -> None:
        """End it in its own way: it writes down what it knows."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)

    def pause(self) -> None:
        """Let it hang: connections are taken, and nothing is answered."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def remove(self) -> None:
        self.kill()
        for one in self._held:
            one.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def _running(places: int) -> Iterator[PrometheusServer]:
    server = PrometheusServer(Path(tempfile.mkdtemp(prefix="downhaul-prometheus-")), places)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="module")
def _shared_prometheus() -> Iterator[PrometheusServer]:
    with _running(_PLACES) as server:
        yield server


@pytest.fixture
def own_prometheus() -> Iterator[PrometheusServer]:
    """A running Prometheus for this test alone, to pause, kill and start as it likes."""
    with _running(4) as server:
        yield server


@pytest.fixture
def prometheus(_shared_prometheus: PrometheusServer) -> PrometheusServer:
    """A Prometheus that the tests of a module share: other tests' series are in it as well."""
    return _shared_prometheus


@pytest.fixture
def keep_exporter() -> Iterator[Callable[[Exporter], Exporter]]:
    """A function that has an exporter closed when the test ends."""
    made: list[Exporter] = []

    def kept(one: Exporter) -> Exporter:
        made.append(one)
        return one

    yield kept
    for one in made:
        one.close()
