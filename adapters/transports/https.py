"""Messages over HTTPS, certificates on both sides; what was sent is never said to have failed."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from adapters.connection import NotSentError, OutcomeUnknownError, RefusedError

_NEVER_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_NEVER_TAKEN: Final = frozenset({401, 403, 404, 405, 413, 415})
"""By RFC 9110 the server did not act on the request; of every other code nobody knows."""
_MOST_BYTES: Final = 1 << 26


@dataclass(frozen=True, slots=True)
class HttpsExchange:
    """A bank's HTTPS door, opened with our certificate; only the given authority is trusted."""

    url: str
    client_certificate: Path
    client_key: Path
    authority: Path
    """The certificate that signs the bank's; those of the machine are not trusted."""
    content_type: str
    connect_timeout_s: float = 10.0
    timeout_s: float = 60.0
    """For one whole exchange."""

    async def exchange(self, content: bytes) -> bytes:
        """The body of the answer to a message.

        Raises:
            NotSentError: No connection: nothing was sent.
            RefusedError: The bank's door did not take it.
            OutcomeUnknownError: It was sent, wholly or in part, and no whole answer came in time.
            ValueError: The address is not HTTPS, or a certificate cannot be used.
        """
        context = self.context()
        with _told():
            async with (
                asyncio.timeout(self.timeout_s),
                # Neither the machine's proxies nor a redirect may carry money elsewhere.
                httpx.AsyncClient(
                    verify=context,
                    trust_env=False,
                    follow_redirects=False,
                    timeout=httpx.Timeout(self.timeout_s, connect=self.connect_timeout_s),
                ) as client,
                client.stream("POST", self.url, content=content, headers=self._headers()) as reply,
            ):
                return await _body(reply)

    def _headers(self) -> dict[str, str]:
        # Without compression the bound on the body is a bound on memory.
        return {"Content-Type": self.content_type, "Accept-Encoding": "identity"}

    def context(self) -> ssl.SSLContext:
        """Our side of a connection; raises ValueError as `exchange`, without asking the bank."""
        if not self.url.startswith("https://"):
            raise ValueError("the address of a bank is HTTPS")
        try:
            context = ssl.create_default_context(cafile=str(self.authority))
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            # With no password at all OpenSSL would ask a person and wait.
            context.load_cert_chain(self.client_certificate, self.client_key, password="")
        except OSError as wrong:  # of which ssl's own errors are kinds
            raise ValueError("a certificate or key cannot be used") from wrong
        return context


async def _body(reply: httpx.Response) -> bytes:
    if reply.status_code in _NEVER_TAKEN:
        raise RefusedError(f"the bank answered with HTTP {reply.status_code}")
    if not reply.is_success:
        raise OutcomeUnknownError(f"the bank answered with HTTP {reply.status_code}")
    if reply.headers.get("Content-Encoding", "identity") != "identity":
        raise OutcomeUnknownError("the answer is compressed, which was not asked for")
    body = bytearray()
    async for part in reply.aiter_raw():
        body += part
        if len(body) > _MOST_BYTES:
            raise OutcomeUnknownError(f"the answer is larger than {_MOST_BYTES} bytes")
    return bytes(body)


@contextmanager
def _told() -> Iterator[None]:
    """Turn what httpx says into our own errors; in doubt, the outcome is unknown."""
    try:
        yield
    except _NEVER_SENT as lost:
        raise NotSentError(f"the bank cannot be reached: {type(lost).__name__}") from lost
    except (httpx.HTTPError, httpx.StreamError, ssl.SSLError, OSError) as broken:
        raise OutcomeUnknownError(f"no whole answer: {type(broken).__name__}") from broken
