"""A backend that decides by itself, as a vendor's does, and tells nobody its rules."""

import threading
import time
from dataclasses import replace

from downhaul_contract_tests import Backend, write_all

from downhaul import Flags
from downhaul.backends.memory import MemoryProvider
from downhaul.config import RolloutMode
from downhaul.errors import Unreachable
from downhaul.flag import Clause, FlagSet, Operator, Rule
from downhaul.provider import (
    Capability,
    FlagProvider,
    ProviderStatus,
    State,
    portable_attribute,
)
from downhaul.result import ErrorCode, Reason, Result

TOKEN = "s3cr3t-token-of-the-contract"


class ResolvingProvider(FlagProvider):
    """Asks a client of its own over ``rules``, and publishes what is known of the flags."""

    name = "resolving"
    capabilities = frozenset(Capability) - {Capability.FLAG_SET}

    def __init__(self, token=TOKEN):
        self.token = token
        self.kept = MemoryProvider()
        self.kept.name = self.name
        self.declarations = {}
        self.inner = None
        self.listener = None
        self.ready = False
        self.cut_at = None

    @property
    def rules(self):
        """The flags as they are kept, for whoever can reach them."""
        if self.cut_at is not None:
            hint = "see whether it is up"
            raise Unreachable("the backend is away", provider=self.name, hint=hint)
        return self.kept

    def cut(self):
        self.cut_at = time.monotonic()

    def mend(self):
        self.cut_at = None
        self.begin()

    def start(self, listener):
        self.listener = listener
        self.begin()

    def begin(self):
        if self.listener is None or self.cut_at is not None:
            return
        if self.inner is None:
            self.inner = Flags.over(self.kept)
            self.inner.on_change(lambda _keys: self.publish())
        self.publish()
        self.ready = True

    def publish(self):
        if self.listener is not None and self.cut_at is None:
            kept = self.kept.list()
            self.listener.replaced(FlagSet.of(map(self.known, kept.flags.values()), (), "1"))

    def known(self, flag):
        return replace(flag, default="", targets=(), rules=(), prerequisites=())

    def wait_ready(self, timeout):
        until = time.monotonic() + timeout
        while not self.ready and time.monotonic() < until:
            threading.Event().wait(0.005)
        return self.ready

    def status(self):
        if not self.ready:
            return ProviderStatus(State.NOT_READY, "nothing came yet")
        if self.cut_at is not None:
            return ProviderStatus(
                State.STALE, "the backend is away", time.monotonic() - self.cut_at
            )
        return ProviderStatus(State.READY, age=0.0)

    def close(self, timeout=2.0):
        self.listener, self.ready = None, False
        inner, self.inner = self.inner, None
        if inner is not None:
            inner.close(timeout)

    def resolve(self, key, context, kind):
        if self.inner is None:
            return self.unready(key)
        result = self.inner.evaluate(key, context)
        return replace(result, provider=self.name, flag=key)

    def unready(self, key):
        return Result(
            None,
            reason=Reason.ERROR,
            error_code=ErrorCode.PROVIDER_NOT_READY,
            provider=self.name,
            authoritative=False,
            flag=key,
        )

    def set_rollout(self, key, variant, weight, change):
        declared = self.declarations.get(key)
        if declared is None or declared.rollout is not RolloutMode.PORTABLE:
            return self.rules.set_rollout(key, variant, weight, change)
        flag = self.rules.get(key)
        within = Clause(portable_attribute(key), Operator.LESS, (weight,))
        rules = (Rule(variant, (within,)),)
        return self.rules.put(replace(flag, rules=rules, default=flag.off_variant), change)

    def get(self, key):
        return self.rules.get(key)

    def list(self):
        return self.rules.list()

    def put(self, flag, change, *, expected=None):
        return self.rules.put(flag, change, expected=expected)

    def delete(self, key, change, *, expected=None):
        self.rules.delete(key, change, expected=expected)

    def switch_on(self, key, change):
        return self.rules.switch_on(key, change)

    def switch_off(self, key, change):
        return self.rules.switch_off(key, change)

    def set_targets(self, key, variant, keys, change):
        return self.rules.set_targets(key, variant, keys, change)

    def put_segment(self, segment, change, *, expected=None):
        return self.rules.put_segment(segment, change, expected=expected)

    def delete_segment(self, key, change, *, expected=None):
        self.rules.delete_segment(key, change, expected=expected)

    def snapshot(self, key):
        return self.rules.snapshot(key)

    def restore(self, snapshot, change, *, expected=None):
        return self.rules.restore(snapshot, change, expected=expected)

    def history(self, key=None, *, limit=100, before=None):
        return self.rules.history(key, limit=limit, before=before)


class LaggingProvider(ResolvingProvider):
    """Serves what was kept when it last polled. It polls when a test says so."""

    name = "lagging"

    def __init__(self, kept=None):
        super().__init__()
        self.kept = self.kept if kept is None else kept
        self.polled = 0.0

    def begin(self):
        self.poll()

    def poll(self):
        if self.listener is None or self.cut_at is not None:
            return
        self.polled = time.monotonic()
        before, self.inner = self.inner, Flags.in_memory(self.kept.list().flags.values())
        self.ready = True
        self.publish()
        if before is not None:
            before.close()

    def status(self):
        if not self.ready:
            return ProviderStatus(State.NOT_READY, "nothing came yet")
        state = State.READY if self.cut_at is None else State.STALE
        return ProviderStatus(state, age=time.monotonic() - self.polled)


class ResolvingBackend(Backend):
    """One provider in this process, for whoever asks: its rules speak to one client alone."""

    secrets = (TOKEN,)

    def __init__(self, make=ResolvingProvider, patience=Backend.patience):
        self._make, self.patience = make, patience
        self._made = make()

    def provider(self):
        return self._made

    def seed(self, flags):
        write_all(self._made, flags)

    def reset(self):
        self._made = self._make()

    def declare(self, declarations):
        self._made.declarations = dict(declarations)

    def outage(self):
        self._made.cut()

    def restore(self):
        self._made.mend()
