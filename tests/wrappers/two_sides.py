"""Backends of whom a test says what they answer, and how; for wrappers that compare two."""

import os
import signal
import threading
import time

from downhaul.flag import Flag, FlagSet, FlagSetDelta
from downhaul.provider import Capability, FlagProvider, ProviderStatus, State
from downhaul.result import ErrorCode, Reason, Result


class Deciding(FlagProvider):
    """Decides by itself, as a vendor does: each flag has one answer, or raises, or hangs.

    ``answers`` are values or results by flag; a function is called with the context.
    """

    capabilities = frozenset({Capability.RESOLVE, Capability.WATCH})

    def __init__(self, name="vendor", state=State.READY, **answers):
        self.name = name
        self.state = state
        self.answers = answers
        self.asked = []
        self.hangs = threading.Event()  # set: nothing hangs
        self.hangs.set()
        self.listener = None

    def start(self, listener):
        self.listener = listener
        self.publish()

    def publish(self, *flags):
        known = {one.key: one for one in flags}
        for key in self.answers:
            known.setdefault(key, Flag(key=key, default="", on=True))
        self.listener.replaced(FlagSet(known))

    def move(self, state):
        self.state = state
        self.listener.status_changed(self.status())

    def told(self, flag):
        self.listener.changed(FlagSetDelta({flag.key: flag}))

    def wait_ready(self, timeout):
        return self.state is State.READY

    def status(self):
        return ProviderStatus(self.state, "" if self.state is State.READY else "away", 1.0)

    def close(self, timeout=2.0):
        self.hangs.set()

    def resolve(self, key, context, kind):
        self.asked.append((key, context, kind))
        self.hangs.wait()
        if key not in self.answers:
            return error(ErrorCode.FLAG_NOT_FOUND)
        answer = self.answers[key]
        if callable(answer):
            answer = answer(context)
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, Result):
            return answer
        return Result(answer, str(answer), Reason.SPLIT, provider=self.name, flag=key)


def error(code, message="it failed"):
    return Result(
        None, reason=Reason.ERROR, error_code=code, error_message=message, authoritative=False
    )


def wait_for(holds, within=20.0):
    until = time.monotonic() + within
    while not holds():
        assert time.monotonic() < until
        threading.Event().wait(0.005)


def in_child(act):
    """Run something in a forked child; return its exit code."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)
        code = 1
        try:
            code = 0 if act() else 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
