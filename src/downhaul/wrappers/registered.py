"""``staged`` by the register: where each flag stands is read from the control store, and followed.

A process that serves hears of a move as it hears of a kill. One that only manages looks into the
register before each verb, and writes down there what one side lacks of what it wrote.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final, Unpack

from downhaul.context import Context
from downhaul.errors import DownhaulError
from downhaul.flag import FlagKind
from downhaul.provider import Capability, Change, FlagProvider, Listener, ProviderStatus, State
from downhaul.result import ErrorCode, Result
from downhaul.staging import Side, Standing
from downhaul.vendors.life import error_of
from downhaul.wrappers.beside import Closing, told
from downhaul.wrappers.comparing import Options
from downhaul.wrappers.divergences import Divergence
from downhaul.wrappers.staged import Staged
from downhaul.wrappers.standings import Followed, from_flag, to_flag

_log: Final = logging.getLogger("downhaul.wrappers")
_UNHEARD: Final = "where flags stand between the two backends has not been read yet"


class Registered(Staged):
    """Serves each flag as the register says that it stands.

    Until the register was heard, or its copy on this machine was read, nobody can say which side to
    ask: flags stand at ``standing`` then, or without one there is no answer but the caller's own.
    """

    def __init__(
        self,
        inner: FlagProvider,
        second: FlagProvider,
        register: FlagProvider,
        standing: Standing | None = None,
        **comparing: Unpack[Options],
    ) -> None:
        self._followed = Followed(register, standing or Standing())
        self._blind = standing is None
        self._serving = False
        super().__init__(
            inner,
            second,
            self._followed.standing_of,
            diverged=self._write_down,
            **comparing,
        )
        self._followed.on_moved = self.moved

    # Serving

    def start(self, listener: Listener) -> None:
        """Follow the register, and start both sides. Doesn't block."""
        self._serving = True
        try:
            self._followed.start()
        except BaseException:
            self.close()
            raise
        super().start(listener)

    def wait_ready(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds for the register, and for the sides that are needed."""
        if self._blind and not self._followed.heard.wait(timeout):
            return False
        return super().wait_ready(timeout)

    def resolve(self, key: str, context: Context, kind: FlagKind | None) -> Result:
        """Ask the side that is read of this flag for this targeting key."""
        if self._blind:
            if not self._followed.heard.is_set():
                return error_of(self.name, key, ErrorCode.PROVIDER_NOT_READY, _UNHEARD)
            self._blind = False  # what was heard holds, whatever becomes of the register
        return super().resolve(key, context, kind)

    def status(self) -> ProviderStatus:
        """Return how both sides stand, and the register where it does not answer."""
        stands = super().status()
        register = self._followed.provider.status()
        if register.state is State.READY:
            return stands
        said = f"the register of stages is {told(register)}"
        state = stands.state
        if not self._followed.heard.is_set():
            state = State.NOT_READY if self._blind else state
        elif state is State.READY:
            state = State.STALE
        return replace(stands, state=state, message="; ".join(filter(None, (stands.message, said))))

    def _closing(self) -> list[Closing]:
        return [*super()._closing(), ("the register of stages", self._followed.provider.close)]

    def after_fork(self) -> None:
        """Follow the register and both sides again in a forked child."""
        self._followed.after_fork()
        super().after_fork()

    # Managing

    def _order(self, needs: Capability, key: str) -> tuple[Side, ...]:
        if not self._serving:
            self._followed.look()  # Raises what reading the register raises: nothing was done
        return super()._order(needs, key)

    def _write_down(self, divergence: Divergence) -> None:
        """Say in the register what one side lacks, so that nobody moves on over it."""
        if divergence.entity != "flag":
            return
        register = self._followed.provider
        what = f"{divergence.lacking} lacks {divergence.verb}: {divergence.error}"
        try:
            flag = register.get(divergence.key)
            if flag is None:
                return
            move = replace(from_flag(flag), unsynced=what)
            change = Change("downhaul", what, divergence.change_id)
            register.put(to_flag(move), change, expected=flag.version or None)
        except (DownhaulError, ValueError) as error:
            _log.warning('that "%s" differs could not be written down: %s', divergence.key, error)
