"""Pages (AIP-158): an opaque token names the last row seen, and belongs to one query."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from gateway.domain.errors import GatewayError, Reason, invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DEFAULT_SIZE: Final = 100
MAX_SIZE: Final = 1000

_Row = TypeVar("_Row")


class _PageRequest(Protocol):
    @property
    def page_size(self) -> int: ...
    @property
    def page_token(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Page:
    """Which rows are asked for.

    Attributes:
        size: at most so many rows to show; a query fetches one more, to know if it was the last.
        after: key of the last row of the page before; None for the first page.
    """

    size: int
    after: tuple[str, ...] | None

    @property
    def fetch(self) -> int:
        """How many rows a query asks for."""
        return self.size + 1

    @property
    def after_id(self) -> str:
        """The key of a query by one id: empty, which is before every id, for the first page."""
        return self.after[0] if self.after else ""


def page_of(request: _PageRequest, query_key: str, *part_parsers: Callable[[str], object]) -> Page:
    """The page that a request asks for.

    Args:
        request: any message with `page_size` and `page_token`.
        query_key: names the query with everything that selects its rows, such as
            ``ListPersons/parties/p1``: a token of another query is refused.
        part_parsers: one for each part of a row's key; each raises ValueError for what cannot be a
            part. None given: the key is one string.

    Raises:
        GatewayError: PAGE_TOKEN_INVALID.
    """
    size = min(request.page_size or DEFAULT_SIZE, MAX_SIZE)
    if not request.page_token:
        return Page(size, None)
    after = _open(request.page_token, query_key)
    try:
        for parser, part in zip(part_parsers or (str,), after, strict=True):
            parser(part)
    except (ValueError, ArithmeticError):
        raise _token_invalid() from None
    return Page(size, after)


def next_token(
    query_key: str, rows: Sequence[_Row], size: int, key_of: Callable[[_Row], tuple[str, ...]]
) -> str:
    """The token of the page behind these rows; empty when there is none.

    Args:
        query_key: as in `page_of`.
        rows: what the query found, one more than `size` where there is a next page.
        size: how many are shown.
        key_of: the key of a row, by which the query is ordered.
    """
    if len(rows) <= size:
        return ""
    content = json.dumps([_bind(query_key), *key_of(rows[size - 1])], ensure_ascii=False)
    return base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")


def _open(token: str, query_key: str) -> tuple[str, ...]:
    try:
        content = json.loads(base64.b64decode(token + "=" * (-len(token) % 4), b"-_", True))
    except (ValueError, RecursionError):
        raise _token_invalid() from None
    if not isinstance(content, list) or not all(isinstance(part, str) for part in content):
        raise _token_invalid()
    if content[:1] != [_bind(query_key)] or not all(map(_is_text, content)):
        raise _token_invalid()
    return tuple(content[1:])


def _is_text(part: str) -> bool:
    """Whether PostgreSQL can hold it: it has no NUL, and no half of a surrogate pair."""
    return "\0" not in part and not any("\ud800" <= letter <= "\udfff" for letter in part)


def _bind(query_key: str) -> str:
    return sha256(query_key.encode()).hexdigest()[:16]


def _token_invalid() -> GatewayError:
    return invalid(Reason.PAGE_TOKEN_INVALID, "page_token", "is not the token of a page of this")
