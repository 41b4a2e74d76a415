"""What a reader asks for in an address, and the address that asks for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from gateway.clock import bank_date
from gateway.disclosure.lines import LineFilter
from gateway.disclosure.period import Period
from gateway.domain.errors import Reason, invalid

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from gateway.domain.describe import Language

BOOKS: Final = ("COMMON", "MAINTENANCE")
STATES: Final = ("PENDING", "SETTLED", "REVERSED", "RETURNED")
PAGE_LINES: Final = 50

_NUMBER: Final = re.compile("[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class AskedLines:
    """Which lines, and behind which number the page begins."""

    chosen: LineFilter
    after: int

    @property
    def given(self) -> dict[str, str]:
        """Each part of the address; empty where nothing is asked."""
        chosen = self.chosen
        return {
            "book": chosen.book,
            "from": _written(chosen.first_date),
            "to": _written(chosen.last_date),
            "state": chosen.state,
            "disclosed_by": _written(chosen.disclosed_by),
        }

    def behind(self, number: int) -> dict[str, str]:
        """The parts of the address of the page that begins behind this line."""
        return {name: value for name, value in self.given.items() if value} | {"after": f"{number}"}


def language_of(query: Mapping[str, str]) -> Language:
    """Chinese, unless English is asked for."""
    return "en" if query.get("lang") == "en" else "zh"


def address(path: str, language: Language, query: Mapping[str, str]) -> str:
    """The path with its query, in the language that is being read."""
    given = {**query, **({"lang": "en"} if language == "en" else {})}
    return f"{path}?{urlencode(given)}" if given else path


def asked_lines(fund_id: str, query: Mapping[str, str]) -> AskedLines:
    """The lines that an address asks for.

    Raises:
        GatewayError: FIELD_INVALID; names the part of the address.
    """
    chosen = LineFilter(
        fund_id=fund_id,
        book=_one_of(query, "book", BOOKS),
        first_date=_day(query, "from"),
        last_date=_day(query, "to"),
        state=_one_of(query, "state", STATES),
        disclosed_by=_day(query, "disclosed_by"),
    )
    if chosen.first_date and chosen.last_date and chosen.first_date > chosen.last_date:
        raise invalid(Reason.FIELD_INVALID, "to", "must not be before the first day")
    return AskedLines(chosen, number_of(query.get("after") or "0", "after"))


def number_of(text: str, field: str) -> int:
    """A number of a line or a night.

    Raises:
        GatewayError: FIELD_INVALID.
    """
    if _NUMBER.fullmatch(text) is None:
        raise invalid(Reason.FIELD_INVALID, field, "is no number as in 12")
    return int(text)


def asked_period(query: Mapping[str, str], now: datetime) -> Period:
    """``months=2026-01..2026-10``, as the printed notice has it; without it, this year until now.

    Raises:
        GatewayError: FIELD_INVALID.
    """
    today = bank_date(now)
    first, _, last = query.get("months", f"{today:%Y}-01..{today:%Y-%m}").partition("..")
    return Period.of_months(query.get("from") or first, query.get("to") or last or first)


def _one_of(query: Mapping[str, str], field: str, known: Collection[str]) -> str:
    value = query.get(field, "")
    if value and value not in known:
        raise invalid(Reason.FIELD_INVALID, field, f"is not one of {', '.join(known)}")
    return value


def _day(query: Mapping[str, str], field: str) -> date | None:
    if not (text := query.get(field, "")):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise invalid(Reason.FIELD_INVALID, field, "is no day as in 2026-11-23") from None


def _written(day: date | None) -> str:
    return "" if day is None else day.isoformat()
