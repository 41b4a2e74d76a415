"""Options and arguments that several commands share, and how their text is read."""

import uuid
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.labels import Enumeration, choices, prefix
from gateway.cli.screen import Screen
from gateway.client import MAX_ITEMS
from gateway.domain.errors import GatewayError
from gateway.domain.money import parse_minor


def resource(collection: str) -> Callable[[str], str]:
    """Reads a resource name, or only its id: both ``f1`` and ``funds/f1`` are the fund f1."""

    def read(text: str) -> str:
        return text if "/" in text else f"{collection}/{text}"

    return read


def in_fund(collection: str) -> Callable[[str], str]:
    """Reads ``funds/f1/cases/c1``, or only ``f1/c1``."""

    def read(text: str) -> str:
        fund, slash, rest = text.partition("/")
        if not slash:
            raise typer.BadParameter("is not as listed, FUND/ID / 应如列表所示：基金/编号")
        return text if fund == "funds" else f"funds/{fund}/{collection}/{rest}"

    return read


def person_name(text: str) -> str:
    """Reads ``firm/zhao`` or ``parties/firm/persons/zhao``."""
    party, slash, person = text.partition("/")
    return f"parties/{party}/persons/{person}" if slash and "/" not in person else text


def amount_minor(text: str) -> int:
    """Reads ``1,234.56`` as minor units.

    Raises:
        typer.BadParameter: it is no amount above zero.
    """
    try:
        read_minor = parse_minor(text)
    except GatewayError as error:
        raise typer.BadParameter(f"{error.message} / {error.message_zh}") from None
    if not read_minor:
        raise typer.BadParameter("must be above zero / 金额必须大于零")
    return read_minor


def signed_minor(text: str) -> int:
    """Reads ``1,234.56`` or ``-1,234.56`` as minor units.

    Raises:
        typer.BadParameter: it is no amount other than zero.
    """
    read_minor = amount_minor(text.removeprefix("-").removeprefix("+"))
    return -read_minor if text.startswith("-") else read_minor


def iso_date(text: str) -> date:
    """Reads ``2026-11-23``.

    Raises:
        typer.BadParameter: it is no such day.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("is not a day as in 2026-11-23 / 日期应如 2026-11-23") from None


def one_of(kind: Enumeration) -> Callable[[str], str]:
    """Reads a value's name, in either case and without its prefix, as its full name."""

    def read(text: str) -> str:
        name = text.upper().replace("-", "_")
        if name not in choices(kind):
            raise typer.BadParameter(f"is not one of / 应为其中之一: {', '.join(choices(kind))}")
        return prefix(kind) + name

    return read


def new_request_id() -> str:
    """A request id that nobody has used."""
    return str(uuid.uuid4())


def announced(screen: Screen, given: str | None) -> str:
    """The request id, told before the call, so that it is known if the answer is lost."""
    request_id = given or new_request_id()
    screen.say(
        f"请求编号 {request_id}（如无应答，用 --request-id 重复，不会重复办理）",
        f"request id {request_id} (no answer? repeat with --request-id: it is done only once)",
    )
    return request_id


def say_waits(screen: Screen, change: str) -> None:
    """That what was proposed is done once another party confirms it."""
    screen.say(f"待另一方确认：{change}", f"waits for another party: {change}")


_fund = resource("funds")

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask: you have read it.")]
Reason = Annotated[
    str,
    typer.Option(
        "--reason",
        metavar="TEXT",
        help="Why; who reads it was not there. Name no private person.",
    ),
]
Fund = Annotated[str, typer.Option("--fund", parser=_fund, metavar="FUND", help="The fund.")]
OnlyFund = Annotated[
    str | None,
    typer.Option("--fund", parser=_fund, metavar="FUND", help="Only this fund's."),
]
FundArgument = Annotated[
    str, typer.Argument(parser=_fund, metavar="FUND", help="The fund: its id, or funds/ID.")
]
PaymentArgument = Annotated[
    str, typer.Argument(metavar="PAYMENT", help="funds/FUND/payments/ID, as `payment list` shows.")
]
PersonArgument = Annotated[
    str,
    typer.Argument(
        parser=person_name, metavar="PERSON", help="PARTY/ID, or parties/PARTY/persons/ID."
    ),
]
Limit = Annotated[
    int, typer.Option("--limit", min=1, max=MAX_ITEMS, help="At most this many rows.")
]
RequestId = Annotated[
    str | None,
    typer.Option(
        "--request-id",
        metavar="ID",
        help="Repeat a call whose answer was lost: the same id is never done twice.",
    ),
]
From = Annotated[
    date | None,
    typer.Option("--from", parser=iso_date, metavar="DATE", help="This day or later."),
]
To = Annotated[
    date | None,
    typer.Option("--to", parser=iso_date, metavar="DATE", help="This day or earlier."),
]
AsOf = Annotated[
    date | None,
    typer.Option("--as-of", parser=iso_date, metavar="DATE", help="At the end of this day."),
]
DisclosedBy = Annotated[
    date | None,
    typer.Option(
        "--disclosed-by",
        parser=iso_date,
        metavar="DATE",
        help="As it was disclosed at the end of this day.",
    ),
]
Vouchers = Annotated[
    list[str],
    typer.Option(
        "--voucher",
        metavar="FILE|NAME",
        help="A PDF, PNG, JPEG or text file to upload, or a voucher's name; may be repeated.",
    ),
]
InputFile = Annotated[
    Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, readable=True)
]
