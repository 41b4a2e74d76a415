"""Those who call the gateway: they note every answer, and ask again when none comes."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from gateway.domain.errors import GatewayError
from gateway.rpc.errors import StoredRefusal, reason_in
from gateway.rpc.once import LASTING
from tests.simulation.checks import require
from tests.simulation.life import Crash

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

    from tests.gateway.support import Who
    from tests.simulation.life import Life
    from tests.simulation.process import Process
    from tests.simulation.trace import Trace

_ATTEMPTS: Final = 4
_PATIENCE: Final = 0.8
_LONG_LIFE: Final = 1 / 12
"""Steps until a process dies that is to die: a dozen on the average, a call has two or three."""


@dataclass(frozen=True, slots=True)
class Told:
    """How a call was answered: with a message, or refused for a reason."""

    message: Any = None
    refused: str = ""
    lasting: bool = True


@dataclass(slots=True)
class Asked:
    """A call that was made, and its answer if one came."""

    who: Who
    method: str
    request: Any
    told: Told | None


@dataclass(slots=True)
class Mortals:
    """Work in a process that may die of it, and another process after it.

    Attributes:
        life: of the process.
        begin: makes another process of what is on disk.
        process: the one that lives.
        chance: draws when it dies.
        danger: how likely a piece of work is its last.
        trace: told of its death.
        asked: every call whose answer must not change.
    """

    life: Life
    begin: Callable[[], Process]
    process: Process
    chance: Random
    danger: float
    trace: Trace
    asked: list[Asked] = field(default_factory=list)
    _numbers: count[int] = field(default_factory=lambda: count(1))
    _worked: bool = False

    def has_worked(self) -> bool:
        """Whether anything was done since this was asked for the last time."""
        worked, self._worked = self._worked, False
        return worked

    async def do(self, work: Callable[[Process], Awaitable[Any]], *, safe: bool = False) -> bool:
        """Does it; False if the process died of it, and another one has begun."""
        self._worked = True
        in_danger = not safe and self.chance.random() < self.danger
        self.life.begin(int(self.chance.expovariate(_LONG_LIFE)) if in_danger else None)
        try:
            await work(self.process)
        except Crash:
            self.trace.say(f"  † the process died: {self.life.at}")
            self.process = self.begin()
            return False
        finally:
            self.life.begin()
        return True

    async def ask(self, who: Who, method: str, request: Any) -> Told:
        """A call with a request id of its own; again and again until it is answered.

        A caller without patience is never told, and stands as if refused.
        """
        first = request[0].header if isinstance(request, list) else request
        first.request_id = f"request-{next(self._numbers)}"
        asked = Asked(who, method, request, None)
        for attempt in range(_ATTEMPTS):
            told = await self._tell(asked, safe=attempt == _ATTEMPTS - 1)
            if told is not None or self.chance.random() > _PATIENCE:
                break
        asked.told = told
        name = method.partition("/")[2]
        if told is None:
            self.trace.say(f"  {who.person_id} {name}: gave up")
        else:
            self.trace.say(f"  {who.person_id} {name}: {told.refused or 'done'}")
        if told is None or told.lasting:
            self.asked.append(asked)
        return told or Told(refused="nothing heard")

    async def ask_again(self) -> None:
        """Some earlier call once more, byte for byte: the answer is what it was."""
        if not self.asked:
            return
        asked = self.chance.choice(self.asked)
        told = await self._tell(asked, safe=False)
        self.trace.say(f"  {asked.who.person_id} {asked.method}: once more")
        if told is not None and asked.told is not None:
            require(told == asked.told, "another answer", asked.told, told)
        asked.told = asked.told or told

    async def read(self, who: Who, method: str, request: Any) -> Any:
        """A call that changes nothing, in a process that lives through it."""
        return await self.process.call(who, method, request)

    async def _tell(self, asked: Asked, *, safe: bool) -> Told | None:
        told = Told()

        async def call(process: Process) -> None:
            nonlocal told
            try:
                told = Told(await process.call(asked.who, asked.method, asked.request))
            except GatewayError as refusal:
                told = Told(None, refusal.reason.value, refusal.kind in LASTING)
            except StoredRefusal as refusal:
                told = Told(None, reason_in(refusal.status))

        return told if await self.do(call, safe=safe) else None
