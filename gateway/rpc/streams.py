"""Client streams: a header first, then its parts, never more than the bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.domain.errors import GatewayError, Kind, Reason, invalid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def header_first(header: Any, part: Any) -> Any:  # noqa: ANN401 - of any stream of the contract
    """The stream's header, given what was its header so far.

    Raises:
        GatewayError: FIELD_INVALID unless the header comes first, and once.
    """
    if (header is None) is not part.HasField("header"):
        raise invalid(Reason.FIELD_INVALID, "header", "must be the first message, and only that")
    return part.header if header is None else header


def required(header: Any) -> Any:  # noqa: ANN401 - of any stream of the contract
    """The header of a stream that has ended.

    Raises:
        GatewayError: FIELD_INVALID if nothing came.
    """
    if header is None:
        raise invalid(Reason.FIELD_INVALID, "header", "the stream is empty")
    return header


async def header_and_content(parts: AsyncIterator[Any], limit_bytes: int) -> tuple[Any, bytes]:
    """Header and bytes of an upload; stops reading as soon as it is too long.

    Raises:
        GatewayError: FIELD_INVALID without a header in front, LIMIT_EXCEEDED.
    """
    header = None
    content = bytearray()
    async for part in parts:
        header = header_first(header, part)
        content += part.content
        if len(content) > limit_bytes:
            raise GatewayError(
                Kind.EXHAUSTED,
                Reason.LIMIT_EXCEEDED,
                f"more than {limit_bytes} bytes",
                {"limit_bytes": str(limit_bytes)},
            )
    return required(header), bytes(content)
