"""Which cases are meant: the options that list, accept and export share."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from inspect import Parameter, Signature, getdoc, signature
from typing import Annotated, Any, Final

import typer
from xinyi.v1.party_service_pb2 import GetCallerRequest
from xinyi.v1.reconciliation_service_pb2 import (
    CaseFilter,
    CaseKind,
    CaseState,
    ListCasesRequest,
)

from gateway.cli.frame import Complaint, Session
from gateway.cli.options import OnlyFund, amount_minor, in_fund, one_of, person_name
from gateway.client import MAX_ITEMS, call, collect

_Command = Callable[..., Awaitable[int | None]]
_BEGUN: Final = re.compile(r"(funds/[a-z0-9-]+)/cases/[0-9a-f]{8,31}")
_NAMES_SHOWN: Final = 10

CaseArgument = Annotated[
    str,
    typer.Argument(
        parser=in_fund("cases"),
        metavar="CASE",
        help="As `case list` shows it, FUND/ID; the first 8 digits of the id do.",
    ),
]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which cases a person asked for: of a fund or of all, and under which conditions."""

    parent: str
    filter: CaseFilter


async def wanted(  # noqa: PLR0913 - a filter has this many conditions
    session: Session,
    *,
    fund: OnlyFund = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            parser=one_of(CaseKind), metavar="KIND", help="Only this kind; may be repeated."
        ),
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            parser=one_of(CaseState),
            metavar="STATE",
            help="OPEN, PROPOSED, WAITING, AT_BANK or CLOSED; all but CLOSED unless told.",
        ),
    ] = None,
    min_age_days: Annotated[
        int, typer.Option(min=0, max=36500, metavar="DAYS", help="At least so old.")
    ] = 0,
    min_amount: Annotated[
        int | None,
        typer.Option(parser=amount_minor, metavar="YUAN", help="At least so much is open in it."),
    ] = None,
    max_amount: Annotated[
        int | None,
        typer.Option(parser=amount_minor, metavar="YUAN", help="At most so much is open in it."),
    ] = None,
    assignee: Annotated[
        str, typer.Option(metavar="PARTY/PERSON", help="Only whose it is; `me`, or `nobody`.")
    ] = "",
    overdue: Annotated[bool, typer.Option("--overdue", help="Only past their due day.")] = False,
    escalated: Annotated[
        bool, typer.Option("--escalated", help="Only those escalated for lateness.")
    ] = False,
    cause: Annotated[
        str, typer.Option(metavar="CAUSE", help="Only this cause, such as bank_fee.")
    ] = "",
) -> Wanted:
    """What the options say; `me` is looked up at the gateway."""
    chosen = CaseFilter(
        kinds=map(CaseKind.Value, kind or ()),
        states=map(CaseState.Value, state or ()),
        min_age_days=min_age_days,
        min_weight_minor=min_amount or 0,
        max_weight_minor=max_amount or 0,
        assignee={"": "", "nobody": "-"}.get(assignee) or await person_of(session, assignee),
        only_overdue=overdue,
        min_escalation=int(escalated),
        cause=cause,
    )
    return Wanted(fund or "funds/-", chosen)


async def person_of(session: Session, text: str) -> str:
    """The name of a person; empty for nobody.

    Raises:
        CallRefused: `me`, whom the gateway does not know.
    """
    if text == "me":
        return (await call(session.stubs.parties.GetCaller, GetCallerRequest())).person.name
    return "" if text in {"", "nobody"} else person_name(text)


def filtered(body: _Command) -> _Command:
    """The command with the options of `wanted` in place of its parameter of that name."""
    shared = list(signature(wanted).parameters.values())[1:]

    async def run(session: Session, **given: Any) -> int | None:  # noqa: ANN401 - as typer parsed them
        said = {each.name: given.pop(each.name) for each in shared}
        return await body(session, wanted=await wanted(session, **said), **given)

    session, *own = signature(body).parameters.values()
    rest = [each for each in own if each.name != "wanted"]
    first = [each for each in rest if each.default is Parameter.empty]
    last = [each for each in rest if each.default is not Parameter.empty]
    options = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in (*first, *shared, *last)]
    run.__signature__ = Signature([session, *options])  # type: ignore[attr-defined] # inspect honours it
    run.__doc__ = getdoc(body)
    return run


async def whole_name(session: Session, name: str) -> str:
    """The name of the one case whose id begins so; a whole name stays as it is.

    Open cases are looked through first, for it is these that people work on.

    Raises:
        Complaint: no case of the fund, or more than one, begins so.
    """
    begun = _BEGUN.fullmatch(name)
    if begun is None:
        return name
    for states in ((), (CaseState.CASE_STATE_CLOSED,)):
        request = ListCasesRequest(parent=begun[1], filter=CaseFilter(states=states))
        listed = await collect(session.stubs.reconciliation.ListCases, request, MAX_ITEMS)
        names = [each.name for each in listed.cases if each.name.startswith(name)]
        if len(names) == 1:
            return names[0]
        if names:
            raise Complaint(
                f"{len(names)} cases begin like {name}", "不止一个", *names[:_NAMES_SHOWN]
            )
    raise Complaint(f"no case begins like {name}", "没有这样的差异")
