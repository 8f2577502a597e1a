"""Service processes, and the traffic that reaches them."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from downhaul.errors import DownhaulError

_RATE: Final = 500.0  # requests to agents a second, at most, at all processes together
_WORKERS: Final = 4  # requests that are under way at one process at the same time
_START: Final = 60.0  # seconds that a service may take to serve, on a busy machine


class Service:
    """One process of the application, and how to ask it."""

    def __init__(self, url: str, folder: Path, log: Path) -> None:
        environment = {**os.environ, "DOWNHAUL_CACHE_DIR": str(folder)}
        self._process = subprocess.Popen(  # noqa: S603  (our own module, on this interpreter)
            [sys.executable, "-m", "downhaul.demo.service", url, str(log)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            cwd=folder,
        )
        self.port = 0
        self._local = threading.local()
        self._connections: list[http.client.HTTPConnection] = []  # one for each thread that asked

    def wait(self) -> None:
        """Wait until it serves. Raises DownhaulError if it never does."""
        assert self._process.stdout is not None  # noqa: S101  (asked for above)
        timer = threading.Timer(_START, self._process.kill)
        timer.start()
        line = self._process.stdout.readline()
        timer.cancel()
        if not line.strip().isdigit():
            message = "a service of the demo did not start; what it printed is above"
            raise DownhaulError(message, hint=f"it had {_START:g} seconds")
        self.port = int(line)

    def ask(self, flag: str, context: Any) -> dict[str, Any]:
        """Ask for one decision, over this thread's own connection."""
        return self._post("/", {"flag": flag, "context": context})

    def serve(self, user: str) -> dict[str, Any]:
        """Let the agent that the user gets answer one request."""
        return self._post("/agent", {"user": user})

    def _post(self, path: str, data: Mapping[str, Any]) -> dict[str, Any]:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            self._local.connection = connection
            self._connections.append(connection)
        connection.request("POST", path, json.dumps(data), {"Content-Type": "application/json"})
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer

    def close(self) -> None:
        """Stop the process."""
        for connection in self._connections:
            connection.close()
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


@dataclass(slots=True)
class Counts:
    """What the background traffic of one run saw. A request ``failed`` if it got no answer."""

    requests: int = 0
    failed: int = 0
    wrong_after_kill: int = 0


@dataclass(slots=True)
class _Watch:
    """A kill that a service is expected to obey: when its first killed answer came."""

    flag: str
    seen: dict[int, float] = field(default_factory=dict)


class Application:
    """All processes of the service, with traffic that never stops while it is open."""

    def __init__(self, url: str, folder: Path, *, processes: int, users: Sequence[str]) -> None:
        self.users = users
        self.counts = Counts()
        self.logs = [folder / f"answers-{number}.log" for number in range(processes)]
        self._services = [Service(url, folder, log) for log in self.logs]
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._watch: _Watch | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        try:
            for service in self._services:
                service.wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end_traffic()
        for service in self._services:
            service.close()

    @property
    def processes(self) -> int:
        """How many processes serve."""
        return len(self._services)

    def begin_traffic(self, flag: str) -> None:
        """Let questions about this flag run in the background, at every process."""
        for number, service in enumerate(self._services):
            self._begin(self._drive, number, service, flag)

    def begin_work(self) -> None:
        """Let all users ask their agents in turn, each at the same process, in the background."""
        for number, service in enumerate(self._services):
            mine = self.users[number :: len(self._services)]
            for first in range(_WORKERS):
                self._begin(self._work, service, mine[first::_WORKERS])

    def end_traffic(self) -> None:
        """Let what runs in the background come to its end."""
        self._stop.set()
        for thread in self._threads:
            thread.join(5)
        self._threads.clear()
        self._stop.clear()

    def _begin(self, target: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True, name="demo-traffic")
        thread.start()
        self._threads.append(thread)

    def sweep(self, flag: str) -> dict[str, str | None]:
        """Ask for every user once, spread over the processes; return each one's variant."""
        answers: dict[str, str | None] = {}
        self._count(len(self.users))
        self._spread(
            self.users,
            lambda service, user: answers.__setitem__(user, service.ask(flag, user)["variant"]),
        )
        return answers

    def ask_all(self, questions: Sequence[tuple[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
        """Ask (flag, context) questions, spread over the processes; answers in their order."""
        answers: list[dict[str, Any]] = [{} for _ in questions]
        self._count(len(questions))

        def put(service: Service, number: int) -> None:
            flag, context = questions[number]
            answers[number] = service.ask(flag, context)

        self._spread(range(len(questions)), put)
        return answers

    def latencies(
        self, command: Callable[[], object], flag: str, user: str, expected: str | None
    ) -> list[float]:
        """Run a command, and return for each process the seconds until ``user`` got ``expected``.

        Counted from before the command began; each process is asked again and again meanwhile.
        Raises DownhaulError if a process never follows.
        """
        begun = threading.Barrier(len(self._services) + 1)
        seconds: list[float | None] = [None] * len(self._services)
        start = [0.0]

        def probe(number: int, service: Service) -> None:
            begun.wait()
            limit = time.monotonic() + 30
            while time.monotonic() < limit:
                if service.ask(flag, user)["variant"] == expected:
                    seconds[number] = time.perf_counter() - start[0]
                    return

        threads = [
            threading.Thread(target=probe, args=item, daemon=True)
            for item in enumerate(self._services)
        ]
        for thread in threads:
            thread.start()
        start[0] = time.perf_counter()
        begun.wait()
        command()
        for thread in threads:
            thread.join()
        found = [one for one in seconds if one is not None]
        if len(found) < len(seconds):
            message = f'{len(seconds) - len(found)} process(es) never followed a change of "{flag}"'
            raise DownhaulError(message, hint="look at their output above")
        return found

    def expect_kill(self, flag: str) -> None:
        """Count as wrong every answer after a process's first killed one that is not killed."""
        self._watch = _Watch(flag)

    def _drive(self, number: int, service: Service, flag: str) -> None:
        users = self.users
        place = number * 997  # each process meets the users in another order
        while not self._stop.is_set():
            place += 1
            begun = time.perf_counter()
            try:
                answer = service.ask(flag, users[place % len(users)])
            except (OSError, http.client.HTTPException):
                with self._lock:
                    self.counts.failed += 1
                return
            with self._lock:
                self.counts.requests += 1
                self._judge(number, flag, begun, answer)
            # Half a processor is left for the services themselves.
            self._stop.wait(0.001)

    def _work(self, service: Service, users: Sequence[str]) -> None:
        pause = _WORKERS * len(self._services) / _RATE
        due = time.monotonic()
        for user in itertools.cycle(users):
            # What was missed is not caught up on: a slow agent makes fewer requests, not a flood.
            due = max(due + pause, time.monotonic())
            if self._stop.wait(due - time.monotonic()):
                return
            try:
                service.serve(user)
            except (OSError, http.client.HTTPException):
                with self._lock:
                    self.counts.failed += 1
                return
            self._count(1)

    def _count(self, requests: int) -> None:
        with self._lock:
            self.counts.requests += requests

    def _judge(self, number: int, flag: str, begun: float, answer: Mapping[str, Any]) -> None:
        watch = self._watch
        if watch is None or watch.flag != flag:
            return
        if answer["reason"] == "KILLED":
            watch.seen.setdefault(number, time.perf_counter())
        elif begun > watch.seen.get(number, float("inf")):
            self.counts.wrong_after_kill += 1

    def _spread(self, items: Iterable[Any], work: Callable[[Service, Any], object]) -> None:
        pending = iter(items)
        lock = threading.Lock()
        errors: list[BaseException] = []

        def worker(service: Service) -> None:
            while not errors:
                with lock:
                    item = next(pending, self)
                if item is self:
                    return
                try:
                    work(service, item)
                except Exception as error:  # noqa: BLE001  (raised again below, in the caller)
                    errors.append(error)

        threads = [
            threading.Thread(target=worker, args=(service,), daemon=True)
            for service in self._services * 2
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            message = f"asking the service failed: {errors[0]}"
            raise DownhaulError(message) from errors[0]
