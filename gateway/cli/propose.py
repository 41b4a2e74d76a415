"""`xinyi case match`, `adjust` and so on: what a person proposes to do about one case."""

from dataclasses import dataclass
from datetime import date
from typing import Annotated

import typer
from xinyi.v1.common_pb2 import Book, Money
from xinyi.v1.reconciliation_service_pb2 import (
    Adjustment,
    Allocation,
    AssignCaseRequest,
    Case,
    CommentCaseRequest,
    GetCaseRequest,
    ProposeResolutionRequest,
    Resolution,
    ResolutionAction,
)

from gateway.cli import case_view, resolution_view
from gateway.cli.case_filter import CaseArgument, person_of, whole_name
from gateway.cli.frame import Session
from gateway.cli.labels import event
from gateway.cli.options import (
    Reason,
    RequestId,
    announced,
    iso_date,
    new_request_id,
    one_of,
    signed_minor,
)
from gateway.cli.screen import Column
from gateway.cli.text import moment, person, short, to_day
from gateway.cli.voucher import voucher_names
from gateway.client import call


@dataclass(frozen=True, slots=True)
class Taken:
    """A row and how much of it: its id or number, and signed fen or None for all that is open."""

    row: str
    amount_minor: int | None


def _taken(text: str) -> Taken:
    """Reads ``e1`` or ``e1=-15.00``."""
    row, equals, amount = text.partition("=")
    if not row:
        raise typer.BadParameter("names no row / 未写编号")
    return Taken(row, signed_minor(amount) if equals else None)


_Entries = Annotated[
    list[Taken] | None,
    typer.Option(
        "--entry",
        parser=_taken,
        metavar="ID[=AMOUNT]",
        help="A bank entry, all of it or so much, signed as it is; may be repeated.",
    ),
]
_Lines = Annotated[
    list[Taken] | None,
    typer.Option(
        "--line",
        parser=_taken,
        metavar="NUMBER[=AMOUNT]",
        help="A disclosed line, all of it or so much, signed as it is; may be repeated.",
    ),
]
_Book = Annotated[
    str, typer.Option(parser=one_of(Book), metavar="BOOK", help="COMMON or MAINTENANCE.")
]
_BookOfLines = Annotated[
    str | None,
    typer.Option(
        parser=one_of(Book), metavar="BOOK", help="Only needed where the lines are of both books."
    ),
]
_Vouchers = Annotated[
    list[str] | None,
    typer.Option("--voucher", metavar="FILE|NAME", help="To upload, or uploaded; may be repeated."),
]
_Etag = Annotated[
    str,
    typer.Option(
        "--etag",
        metavar="VERSION",
        help="Only if the case is still as you read it; goes with --request-id.",
    ),
]
_Preview = Annotated[
    bool, typer.Option("--preview", help="Only check it and show it; propose nothing.")
]


_Supersedes = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="The undone resolution or match that this one replaces, by its name."
    ),
]


@dataclass(frozen=True, slots=True)
class Way:
    """How a proposal is made, beside what it says."""

    preview: bool
    etag: str
    request_id: str | None


async def match(  # noqa: PLR0913 - as many as a proposal has parts
    session: Session,
    name: CaseArgument,
    *,
    reason: Reason,
    entry: _Entries = None,
    line: _Lines = None,
    supersedes: _Supersedes = "",
    preview: _Preview = False,
    etag: _Etag = "",
    request_id: RequestId = None,
) -> None:
    """Propose that entries and lines belong together; what is left of them stays open.

    Without --entry and --line: all of the case. Rows of other cases may take part.
    """
    case = await _read(session, name)
    resolution = Resolution(
        action=ResolutionAction.RESOLUTION_ACTION_MATCH,
        allocations=_allocations(case, entry, line),
        reason=reason,
        supersedes=supersedes,
    )
    await _propose(session, case, resolution, Way(preview, etag, request_id))


async def adjust(  # noqa: PLR0913 - as above
    session: Session,
    name: CaseArgument,
    *,
    book: _Book,
    category: Annotated[
        str, typer.Option(metavar="TEXT", help="As disclosed, such as 银行手续费.")
    ],
    summary: Annotated[
        str, typer.Option(metavar="TEXT", help="What for, as the owners read it; no private names.")
    ],
    reason: Reason,
    amount: Annotated[
        int | None,
        typer.Option(
            parser=signed_minor,
            metavar="YUAN",
            help="Negative: the fund pays. Best left out: it is what makes both sides even.",
        ),
    ] = None,
    date: Annotated[
        date | None,
        typer.Option(
            parser=iso_date, metavar="DATE", help="It counts for; the entries' latest if left out."
        ),
    ] = None,
    entry: _Entries = None,
    line: _Lines = None,
    voucher: _Vouchers = None,
    supersedes: _Supersedes = "",
    preview: _Preview = False,
    etag: _Etag = "",
    request_id: RequestId = None,
) -> None:
    """Propose to post a line that makes both sides even, such as a bank fee, and to match it."""
    case = await _read(session, name)
    adjustment = Adjustment(
        book=Book.Value(book),
        category=category,
        summary=summary,
        amount=_money(case, amount),
        effective_date=to_day(date),
        vouchers=await voucher_names(session, _fund(case), voucher or []),
    )
    resolution = Resolution(
        action=ResolutionAction.RESOLUTION_ACTION_ADJUST,
        allocations=_allocations(case, entry, line),
        adjustment=adjustment,
        reason=reason,
        supersedes=supersedes,
    )
    await _propose(session, case, resolution, Way(preview, etag, request_id))


async def write_off(  # noqa: PLR0913 - as above
    session: Session,
    name: CaseArgument,
    *,
    reason: Reason,
    book: _BookOfLines = None,
    entry: _Entries = None,
    line: _Lines = None,
    voucher: _Vouchers = None,
    supersedes: _Supersedes = "",
    preview: _Preview = False,
    etag: _Etag = "",
    request_id: RequestId = None,
) -> None:
    """Propose to write off a small difference between both sides, within the policy's limits."""
    case = await _read(session, name)
    adjustment = Adjustment(
        book=Book.Value(book) if book else Book.BOOK_UNSPECIFIED,
        vouchers=await voucher_names(session, _fund(case), voucher or []),
    )
    resolution = Resolution(
        action=ResolutionAction.RESOLUTION_ACTION_WRITE_OFF,
        allocations=_allocations(case, entry, line),
        adjustment=adjustment,
        reason=reason,
        supersedes=supersedes,
    )
    await _propose(session, case, resolution, Way(preview, etag, request_id))


async def wait(
    session: Session,
    name: CaseArgument,
    *,
    until: Annotated[
        date,
        typer.Option(
            "--until",
            parser=iso_date,
            metavar="DATE",
            help="The end of this day, 92 ahead at most.",
        ),
    ],
    reason: Reason,
    preview: _Preview = False,
    etag: _Etag = "",
    request_id: RequestId = None,
) -> None:
    """Propose to leave a case alone until a day, for it will come by itself."""
    case = await _read(session, name)
    resolution = Resolution(
        action=ResolutionAction.RESOLUTION_ACTION_WAIT, wait_until=to_day(until), reason=reason
    )
    await _propose(session, case, resolution, Way(preview, etag, request_id))


async def send_back(
    session: Session,
    name: CaseArgument,
    *,
    reason: Reason,
    bank_reference: Annotated[
        str, typer.Option(metavar="TEXT", help="The bank's number of the inquiry, if it gave one.")
    ] = "",
    preview: _Preview = False,
    etag: _Etag = "",
    request_id: RequestId = None,
) -> None:
    """Propose to ask the bank, which booked twice, wrongly or not at all."""
    case = await _read(session, name)
    resolution = Resolution(
        action=ResolutionAction.RESOLUTION_ACTION_SEND_BACK,
        bank_reference=bank_reference,
        reason=reason,
    )
    await _propose(session, case, resolution, Way(preview, etag, request_id))


async def keep_apart(
    session: Session,
    name: CaseArgument,
    *,
    reason: Reason,
    preview: _Preview = False,
    etag: _Etag = "",
    request_id: RequestId = None,
) -> None:
    """Propose that the rows of a case do not belong together: no rule ever pairs them again."""
    case = await _read(session, name)
    resolution = Resolution(action=ResolutionAction.RESOLUTION_ACTION_KEEP_APART, reason=reason)
    await _propose(session, case, resolution, Way(preview, etag, request_id))


async def assign(
    session: Session,
    name: CaseArgument,
    assignee: Annotated[
        str, typer.Argument(metavar="PARTY/PERSON", help="Whose it is now; `me`, or `nobody`.")
    ],
    etag: _Etag = "",
    request_id: RequestId = None,
) -> None:
    """Give a case to a person, or to nobody."""
    case = await _read(session, name)
    request = AssignCaseRequest(
        name=case.name,
        assignee=await person_of(session, assignee),
        etag=etag or case.etag,
        request_id=_announced(session, request_id, etag or case.etag),
    )
    answer = await call(session.stubs.reconciliation.AssignCase, request)
    session.screen.one(answer, case_view.facts(answer.case, session))


async def comment(
    session: Session,
    name: CaseArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Names no private person.")],
    request_id: RequestId = None,
) -> None:
    """Add a remark to a case."""
    request = CommentCaseRequest(
        name=await whole_name(session, name),
        text=text,
        request_id=announced(session.screen, request_id),
    )
    answer = await call(session.stubs.reconciliation.CommentCase, request)
    facts = (
        (case_view.CASE, request.name),
        (Column("经过", "What"), event(answer.event.kind, session.screen.lang)),
        (Column("何人", "Who"), person(answer.event.actor)),
        (Column("时间（北京）", "Time (Beijing)"), moment(answer.event.create_time)),
        (Column("内容", "Detail"), answer.event.detail),
    )
    session.screen.one(answer, facts)


async def _read(session: Session, name: str) -> Case:
    request = GetCaseRequest(name=await whole_name(session, name))
    return (await call(session.stubs.reconciliation.GetCase, request)).case


async def _propose(session: Session, case: Case, resolution: Resolution, way: Way) -> None:
    """Says in words what is proposed, proposes it, and says who goes on from there."""
    etag = way.etag or case.etag
    request = ProposeResolutionRequest(
        parent=case.name,
        resolution=resolution,
        etag=etag,
        validate_only=way.preview,
        request_id=new_request_id(),
    )
    method = session.stubs.reconciliation.ProposeResolution
    if way.preview:
        answer = await call(method, request)
        session.screen.one(answer, resolution_view.proposal(answer.resolution, session))
        session.screen.say("仅预览，未提议", "only a preview: nothing was proposed")
        return
    about = (case_view.CASE, f"{short(case.name)} {case_view.what(case, session.screen.lang)}")
    proposal = resolution_view.proposal(resolution, session)
    resolution_view.show_on_error((about, *proposal), session)
    request.request_id = _announced(session, way.request_id, etag)
    answer = await call(method, request)
    session.screen.one(answer, resolution_view.facts(answer.resolution, session))
    again = f"xinyi resolution approve {short(answer.resolution.name)}"
    session.screen.say(f"须由另一人批准：{again}", f"another person approves it: {again}")


def _announced(session: Session, request_id: str | None, etag: str) -> str:
    """As `announced`: the same request again needs the version of the case too."""
    told = request_id or new_request_id()
    session.screen.say(
        f"如无应答，加 --request-id {told} --etag {etag} 重复，不会重复办理",
        f"no answer? repeat with --request-id {told} --etag {etag}: it is done only once",
    )
    return told


def _allocations(
    case: Case, entries: list[Taken] | None, lines: list[Taken] | None
) -> list[Allocation]:
    fund = _fund(case)
    named = [
        *((f"{fund}/bankEntries/{each.row}", each) for each in entries or ()),
        *((f"{fund}/lines/{each.row}", each) for each in lines or ()),
    ]
    return [Allocation(name=name, amount=_money(case, taken.amount_minor)) for name, taken in named]


def _money(case: Case, amount_minor: int | None) -> Money | None:
    """The amount in the currency of the case; None for what the gateway works out."""
    if amount_minor is None:
        return None
    return Money(amount_minor=amount_minor, currency=case.amount.currency or "CNY")


def _fund(case: Case) -> str:
    return case.name.partition("/cases/")[0]
