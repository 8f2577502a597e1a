"""A real Unleash server for tests: `unleash-server` from npm, on a PostgreSQL from the wheel.

`unleash` is what most tests want: the one server of the run, which all workers share, with a flag's
name that nobody else has. `own_unleash` is a server for one test to pause, kill and start again.

The server is installed by `npm ci` from the lock file in `unleash_server/`, once for each lock
file, into the user's cache folder. That takes a minute the first time, and nothing after.
"""

import contextlib
import hashlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import filelock
import pytest
import requests
from fixtures_postgres import PostgresServer

ADMIN_TOKEN = "*:*.downhaul-tests-admin"
BACKEND_TOKEN = "*:development.downhaul-tests-backend"
PRODUCTION_TOKEN = "*:production.downhaul-tests-production"
FRONTEND_TOKEN = "default:development.downhaul-tests-frontend"

_LOCKED = Path(__file__).parent / "unleash_server"
_START_LIMIT = 90.0  # seconds; 7 are usual, and a busy machine takes its time
_LEAST_NODE = 20


def _missing(what: str) -> None:
    """Skip on a developer's machine; fail where CI should have it."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


def _node() -> str:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        _missing("node and npm are not installed: Unleash's server needs Node 20 or newer")
        raise AssertionError
    told = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(told.removeprefix("v").split(".")[0]) < _LEAST_NODE:
        _missing(f"Unleash's server needs Node {_LEAST_NODE} or newer, and this is {told.strip()}")
    return node


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    digest = hashlib.sha256((_LOCKED / "package-lock.json").read_bytes()).hexdigest()
    return Path(base) / "downhaul-tests" / f"unleash-server-{digest[:16]}"


def installed_server() -> Path:
    """Return the folder of the installed server, after installing it if it isn't there yet."""
    folder = _cache()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{folder}.lock"):
        done = folder / "installed"
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for name in ("package.json", "package-lock.json"):
                shutil.copy(_LOCKED / name, folder)
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            if ended.returncode:
                _missing(f"npm ci failed: {ended.stderr[-800:]}")
            done.touch()
    return folder


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class UnleashServer:
    """One server with a database of its own, that can be paused, killed and started again."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.node, self.program = _node(), installed_server()
        self.folder = folder
        self.port = port or free_port()
        self._postgres = PostgresServer(folder / "pg")
        self._process: subprocess.Popen[bytes] | None = None
        self._names = itertools.count()
        self._cleared = -1
        self._run = uuid.uuid4().hex[:8]

    @property
    def url(self) -> str:
        """Where the API is, as an SDK is told."""
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def database_url(self) -> str:
        """Where its database is, for what no request of ours can bring about."""
        return self._postgres.url

    @property
    def process_id(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether the program is there, well or not."""
        return self._process is not None and self._process.poll() is None

    def fresh_name(self, stem: str = "flag") -> str:
        """Return a flag's name that no other test uses."""
        return f"{stem}-{self._run}-{next(self._names)}"

    def start(self) -> None:
        """Start it and wait until it says that it is well."""
        self._postgres.start()
        # node-postgres reads a socket's folder from the parameter `host`.
        self._launch(self._postgres.url)
        self._await_health()
        self._let_flags_go()

    def _let_flags_go(self) -> None:
        """Let a flag be deleted as fast as tests do it.

        A second after a flag was made or archived the server notes it in the flag's lifecycle, by
        two statements: whether the flag is there, and the row. Is it deleted between them, then the
        row is refused, and db-migrate, which the server loads, ends the process for a promise that
        nobody awaits.
        """
        import psycopg

        with psycopg.connect(self._postgres.url) as connection:
            connection.execute(
                "ALTER TABLE feature_lifecycles "
                "DROP CONSTRAINT IF EXISTS feature_lifecycles_feature_fkey"
            )

    def _launch(self, database: str) -> None:
        environ = {
            **os.environ,
            "DATABASE_URL": database,
            "DATABASE_SSL": "false",
            "HTTP_HOST": "127.0.0.1",
            "HTTP_PORT": str(self.port),
            "UNLEASH_URL": f"http://127.0.0.1:{self.port}",
            "CHECK_VERSION": "false",
            "SEND_TELEMETRY": "false",
            "LOG_LEVEL": "warn",
            "NODE_ENV": "production",
            "INIT_ADMIN_API_TOKENS": ADMIN_TOKEN,
            "INIT_BACKEND_API_TOKENS": f"{BACKEND_TOKEN},{PRODUCTION_TOKEN}",
            "INIT_FRONTEND_API_TOKENS": FRONTEND_TOKEN,
        }
        with (self.folder / "unleash.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.node, "node_modules/unleash-server/dist/server.js"],
                cwd=self.program,
                env=environ,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _await_health(self) -> None:
        limit = time.monotonic() + _START_LIMIT
        while time.monotonic() < limit:
            assert self._process is not None
            if self._process.poll() is not None:
                break
            with contextlib.suppress(requests.RequestException, ValueError):
                found = requests.get(f"http://127.0.0.1:{self.port}/health", timeout=2)
                if found.json().get("health") == "GOOD":
                    return
            time.sleep(0.1)  # nothing tells of it; what waits is this loop, with its limit
        message = self._last_words("its start")
        self.kill()
        raise RuntimeError(message)

    def _last_words(self, asked: str) -> str:
        """Return what can be said of a server that does not answer."""
        ended = None if self._process is None else self._process.poll()
        log = (self.folder / "unleash.log").read_text(errors="replace")[-4000:]
        how = "runs" if ended is None else f"ended with {ended}"
        return f"Unleash's server, which {how}, did not do {asked}:\n{log}"

    def pause(self) -> None:
        """Let it hang: connections are taken, and nothing is answered."""
        os.kill(self.process_id, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.process_id, signal.SIGCONT)

    def kill(self) -> None:
        """End it at once. Its database stays for the next start."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(30)

    def remove(self) -> None:
        """End it and delete its database."""
        self.kill()
        self._postgres.remove()
        shutil.rmtree(self.folder, ignore_errors=True)

    # What a person does at the console

    def ask(self, method: str, path: str, body: object = None, *, token: str = ADMIN_TOKEN) -> dict:
        """Call the server's API and return what it answers. `path` begins behind `/api`."""
        try:
            answer = requests.request(
                method, f"{self.url}{path}", json=body, headers={"Authorization": token}, timeout=20
            )
        except requests.ConnectionError as error:
            raise RuntimeError(self._last_words(f"{method} {path}")) from error
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return answer.json() if answer.text.startswith(("{", "[")) else {}

    def create(self, name: str, *strategies: object, on: bool = True, **fields: object) -> str:
        """Make a flag by hand with these strategies, switched on in `development` at the end."""
        self.ask("POST", "/admin/projects/default/features", {"name": name, **fields})
        for one in strategies:
            self.ask("POST", f"{self.flag_path(name)}/strategies", one)
        if on:
            self.switch(name, on=True)
        return name

    def plant(self, flags: dict[str, bool]) -> None:
        """Put many flags, for everybody, into the database at once: by the API it takes minutes."""
        import psycopg

        with psycopg.connect(self._postgres.url) as connection, connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO features (name, type, project) VALUES (%s, 'release', 'default')",
                [(name,) for name in flags],
            )
            cursor.executemany(
                "INSERT INTO feature_environments (feature_name, environment, enabled) "
                "VALUES (%s, 'development', %s), (%s, 'production', false)",
                [(name, on, name) for name, on in flags.items()],
            )
            cursor.executemany(
                "INSERT INTO feature_strategies (id, feature_name, project_name, environment, "
                "strategy_name, title, parameters) VALUES (%s, %s, 'default', 'development', "
                "'flexibleRollout', 'downhaul:rollout', %s)",
                [
                    (
                        str(uuid.uuid4()),
                        name,
                        f'{{"rollout": "100", "stickiness": "default", "groupId": "{name}"}}',
                    )
                    for name in flags
                ],
            )
        # The server looks at its own history to see that something changed.
        last = next(iter(flags))
        self.switch(last, on=not flags[last])
        self.switch(last, on=flags[last])

    def switch(self, name: str, *, on: bool) -> None:
        self.ask("POST", f"{self.flag_path(name)}/{'on' if on else 'off'}")

    def flag_path(self, name: str, environment: str = "development") -> str:
        return f"/admin/projects/default/features/{name}/environments/{environment}"

    def state(self, name: str) -> dict:
        """Return the flag in `development`, as the server has it."""
        return self.ask("GET", self.flag_path(name))

    def settle(self) -> None:
        """Return when the server serves what was written. It looks for news once a second."""
        last, limit = self._last_event(), time.monotonic() + 3  # some events are no news to it
        while time.monotonic() < limit:
            found = self.ask("GET", "/client/features", token=BACKEND_TOKEN)
            if found["meta"]["revisionId"] >= last:
                return
            if last == self._cleared and not found["features"]:
                return
            time.sleep(0.05)  # nothing tells of it; what waits is this loop, with its limit

    def _last_event(self) -> int:
        found = self.ask("GET", "/admin/search/events?limit=1")["events"]
        return found[0]["id"] if found else 0

    def clear(self) -> None:
        """Archive every flag, and delete it from the archive."""
        found = self.ask("GET", "/admin/projects/default/features")["features"]
        names = {"features": [one["name"] for one in found]}
        if found:
            self.ask("POST", "/admin/projects/default/archive", names)
            self.ask("POST", "/admin/projects/default/delete", names)
        self._cleared = self._last_event()  # the server counts no deletion from the archive as news

    def served(self, name: str) -> dict | None:
        """Return the flag as the server serves it to SDKs now, or None."""
        found = self.ask("GET", "/client/features", token=BACKEND_TOKEN)["features"]
        return next((one for one in found if one["name"] == name), None)


@pytest.fixture(scope="session")
def _shared_unleash(
    testrun_uid: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[UnleashServer]:
    # Its tests are of one xdist group, so that one worker of the run starts one server.
    server = UnleashServer(Path(tempfile.mkdtemp(prefix="downhaul-unleash-")))
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def unleash(_shared_unleash: UnleashServer) -> UnleashServer:
    """The run's real Unleash server. Use flags of `fresh_name()` only, and don't stop it."""
    if not _shared_unleash.runs:
        _shared_unleash.start()  # it broke down in the test before, which tells why
    return _shared_unleash


@pytest.fixture
def own_unleash() -> Iterator[UnleashServer]:
    """A real Unleash server for this test alone, to pause, kill and start as it likes."""
    server = UnleashServer(Path(tempfile.mkdtemp(prefix="downhaul-unleash-own-")))
    try:
        server.start()
        yield server
    finally:
        server.remove()
