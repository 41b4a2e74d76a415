"""The demo's people as callers: each with their own certificate, and signers with their own key."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from gateway.client import CallRefused, Stubs, call, connect, read_profile, stubs
from gateway.domain.keys import load_private_key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from gateway.demo.world import Person


@dataclass(slots=True)
class People:
    """Open channels, one a person, made when first used.

    Attributes:
        directory: where the people's directories are.
        server: address of the gateway on stage; the profiles name the one to come.
    """

    directory: Path
    server: str
    _open: dict[str, Stubs] = field(default_factory=dict)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def __aenter__(self) -> Self:
        """Enters."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Closes every channel."""
        await self._stack.aclose()

    def home(self, person: Person) -> Path:
        """The person's directory."""
        return self.directory / f"{person.party}.{person.person}"

    async def calls(self, person: Person) -> Stubs:
        """The services as this person."""
        if person.key not in self._open:
            channel = connect(replace(read_profile(self.home(person)), server=self.server))
            await self._stack.enter_async_context(channel)
            self._open[person.key] = stubs(channel)
        return self._open[person.key]

    def signing_key(self, person: Person) -> Ed25519PrivateKey:
        """The person's own key, which the gateway never has."""
        return load_private_key((self.home(person) / "signing.key").read_bytes())


def request_id() -> str:
    """A new request id."""
    return uuid4().hex


async def refusal(method: Callable[..., Awaitable[Any]], request: object) -> str:
    """The reason for which a call is refused; empty if it is not."""
    try:
        await call(method, request)
    except CallRefused as refused:
        return refused.reason
    return ""
