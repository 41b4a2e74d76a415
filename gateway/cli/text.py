"""The contract's values as text."""

from datetime import date, datetime, time, timedelta
from typing import Final, Protocol

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date  # type: ignore[import-untyped] # it ships no stubs
from xinyi.v1.common_pb2 import Money

from gateway.clock import BANK_ZONE
from gateway.domain.money import EXPONENTS, format_minor

SHORT_CASE_DIGITS: Final = 8
"""Of the 32 of a case's id. Of a thousand cases of a fund two are alike once in ten thousand times;
commands then say so."""


class _NumberedDay(Protocol):
    year: int
    month: int
    day: int


def money(amount: Money) -> str:
    """``1,234.56``, with the currency where it is not renminbi; empty where not set."""
    return minor(amount.amount_minor, amount.currency) if amount.currency else ""


def minor(amount_minor: int, currency: str) -> str:
    """The same of minor units; in them where the currency's decimals are not known."""
    if currency == "CNY":
        return format_minor(amount_minor)
    if currency in EXPONENTS:
        return f"{format_minor(amount_minor, currency)} {currency}"
    return f"{amount_minor:,} minor units {currency}"


def day(said: _NumberedDay) -> str:
    """``2026-11-23``; empty where not set."""
    return f"{said.year:04}-{said.month:02}-{said.day:02}" if said.year else ""


def to_day(value: date | None) -> Date | None:
    """A calendar day in the contract's form."""
    return value and Date(year=value.year, month=value.month, day=value.day)


def start_of(value: date | None, *, days_later: int = 0) -> Timestamp | None:
    """The moment in which a day begins in Beijing, or a later one."""
    if value is None:
        return None
    begin = datetime.combine(value + timedelta(days=days_later), time(), BANK_ZONE)
    said = Timestamp()
    said.FromDatetime(begin)
    return said


def moment(said: Timestamp) -> str:
    """``2026-11-23 14:20:55`` in Beijing; empty where not set."""
    if not said.seconds:
        return ""
    # Whole seconds: datetime refuses years beyond 9999, which a Timestamp cannot hold either.
    return f"{said.ToDatetime(BANK_ZONE):%Y-%m-%d %H:%M:%S}"


def last(name: str) -> str:
    """The last segment of a resource name."""
    return name.rpartition("/")[2]


def short(name: str) -> str:
    """A name as commands take it, without what is the same in all: ``f1/01234567`` of a case.

    Of a case's id only so much is shown as tells it from the other open cases of its fund.
    """
    collection, _, rest = name.removeprefix("funds/").partition("/")[2].partition("/")
    fund = name.removeprefix("funds/").partition("/")[0]
    if not name.startswith("funds/") or not rest:
        return name
    return f"{fund}/{rest[:SHORT_CASE_DIGITS] if collection == 'cases' else rest}"


def member(name: str) -> str:
    """A bank entry or a line as `case match` takes it: ``E:e1``, ``L:12``."""
    return f"{'E' if '/bankEntries/' in name else 'L'}:{last(name)}"


def person(name: str) -> str:
    """``party/person``; a run's name stays as it is."""
    return name.removeprefix("parties/").replace("/persons/", "/")


def joined(names: object) -> str:
    """Several texts as one."""
    return ", ".join(map(str, names))  # type: ignore[call-overload] # protobuf's containers
