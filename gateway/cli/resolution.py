"""`xinyi resolution`: what was proposed for cases, and what another person makes of it."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Annotated, Final

import typer
from xinyi.v1.party_service_pb2 import GetCallerRequest
from xinyi.v1.reconciliation_service_pb2 import (
    ApproveResolutionRequest,
    ApproveResolutionsRequest,
    ApproveResolutionsResponse,
    ListResolutionsRequest,
    RejectResolutionRequest,
    Resolution,
    ResolutionAction,
    ResolutionState,
    UndoResolutionRequest,
    WithdrawResolutionRequest,
)

from gateway.cli import resolution_view
from gateway.cli.frame import OPERATOR, TRUSTEE, Complaint, Session, group, remote
from gateway.cli.options import (
    Limit,
    OnlyFund,
    Reason,
    RequestId,
    Yes,
    announced,
    in_fund,
    new_request_id,
    one_of,
)
from gateway.cli.status import MISMATCH
from gateway.client import LONG_TIMEOUT_S, MAX_ITEMS, call, collect

app = group("Resolutions: proposals about cases; approve, reject, undo 处理.")

PART_SIZE: Final = 1000
"""So many go into one call."""
_CLOSERS: Final = f"{OPERATOR} · {TRUSTEE}"

_Name = Annotated[
    str,
    typer.Argument(
        parser=in_fund("resolutions"),
        metavar="RESOLUTION",
        help="As `resolution list` shows it, FUND/ID.",
    ),
]
_Note = Annotated[str, typer.Option("--note", metavar="TEXT", help="What to say to it.")]


@remote(app, "list", OPERATOR)
async def _list(
    session: Session,
    fund: OnlyFund = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            parser=one_of(ResolutionState),
            metavar="STATE",
            help="PROPOSED, APPROVED, REJECTED, WITHDRAWN or UNDONE; may be repeated.",
        ),
    ] = None,
    limit: Limit = 500,
) -> None:
    """List what was proposed for cases of your funds, newest first."""
    states = map(ResolutionState.Value, state or ())
    request = ListResolutionsRequest(parent=fund or "funds/-", states=states)
    answer = await collect(session.stubs.reconciliation.ListResolutions, request, limit)
    rows = (resolution_view.row(each, session) for each in answer.resolutions)
    session.screen.list(answer, resolution_view.RESOLUTIONS, rows)
    if not answer.resolutions:
        session.screen.say("没有符合条件的处理", "no such resolutions")


@remote(app, "show", OPERATOR)
async def _show(session: Session, name: _Name) -> None:
    """Show one resolution: what it does, who proposed it, and what became of it."""
    request = ListResolutionsRequest(parent=_fund(name))
    found = await _named(session, request, (name,))
    session.screen.one(found[0], resolution_view.facts(found[0], session))


@remote(app, "approve", _CLOSERS)
async def _approve(
    session: Session,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            parser=in_fund("resolutions"),
            metavar="[RESOLUTION]...",
            help="As `resolution list` shows them, FUND/ID.",
        ),
    ] = None,
    all_proposed: Annotated[
        bool,
        typer.Option(
            "--all-proposed", help="All that others proposed; --fund, --action narrow it."
        ),
    ] = False,
    fund: OnlyFund = None,
    action: Annotated[
        list[str] | None,
        typer.Option(
            parser=one_of(ResolutionAction),
            metavar="ACTION",
            help="Only such as MATCH; may be repeated.",
        ),
    ] = None,
    note: _Note = "",
    yes: Yes = False,
) -> int | None:
    """Read what others proposed, agree, and have it done; what posts a line needs a checker.

    Everything is checked again. Exit status 1 where one could not be done, or you said no.
    """
    if bool(names) == all_proposed:
        raise Complaint("give names, or --all-proposed", "请给出名称，或用 --all-proposed")
    proposed = await _chosen(session, names or (), fund)
    actions = set(map(ResolutionAction.Value, action or ()))
    proposed = [each for each in proposed if not actions or each.action in actions]
    if not proposed:
        session.screen.say("没有待您批准的处理", "nothing waits for you")
        return None
    _show_before(session, proposed)
    if not (yes or session.screen.agree("以上内容无误，批准吗？", "Approve exactly this?")):
        session.screen.say("未批准", "not approved")
        return MISMATCH
    if len(proposed) == 1:
        await _approve_one(session, proposed[0].name, note)
        return None
    return await _approve_many(session, [each.name for each in proposed], note)


@remote(app, "reject", _CLOSERS)
async def _reject(
    session: Session, name: _Name, reason: Reason, request_id: RequestId = None
) -> None:
    """Turn a proposal of somebody else down, with the reason; the case is open again."""
    request = RejectResolutionRequest(
        name=name, reason=reason, request_id=announced(session.screen, request_id)
    )
    answer = await call(session.stubs.reconciliation.RejectResolution, request)
    session.screen.one(answer, resolution_view.facts(answer.resolution, session))


@remote(app, "withdraw", _CLOSERS)
async def _withdraw(session: Session, name: _Name, request_id: RequestId = None) -> None:
    """Take your own proposal back; the case is open again."""
    request = WithdrawResolutionRequest(name=name, request_id=announced(session.screen, request_id))
    answer = await call(session.stubs.reconciliation.WithdrawResolution, request)
    session.screen.one(answer, resolution_view.facts(answer.resolution, session))


@remote(app, "undo", _CLOSERS)
async def _undo(
    session: Session, name: _Name, reason: Reason, request_id: RequestId = None
) -> None:
    """Undo what was approved: its rows are open again, the line it posted is taken back (红字)."""
    request = UndoResolutionRequest(
        name=name, reason=reason, request_id=announced(session.screen, request_id)
    )
    answer = await call(session.stubs.reconciliation.UndoResolution, request)
    session.screen.one(answer, resolution_view.facts(answer.resolution, session))


async def _chosen(session: Session, names: Iterable[str], fund: str | None) -> list[Resolution]:
    """The proposals that were named, or all that somebody else made."""
    proposed = [ResolutionState.RESOLUTION_STATE_PROPOSED]
    if wanted := tuple(dict.fromkeys(names)):
        funds = {_fund(name) for name in wanted}
        parent = funds.pop() if len(funds) == 1 else "funds/-"
        request = ListResolutionsRequest(parent=parent, states=proposed)
        return await _named(session, request, wanted)
    request = ListResolutionsRequest(parent=fund or "funds/-", states=proposed)
    listed = await collect(session.stubs.reconciliation.ListResolutions, request, MAX_ITEMS)
    me = (await call(session.stubs.parties.GetCaller, GetCallerRequest())).person.name
    others = [each for each in listed.resolutions if each.proposer != me]
    if own := len(listed.resolutions) - len(others):
        session.screen.say(
            f"您自己提议的 {own} 项须由他人批准，不在其中",
            f"left out: {own} that you proposed, which another person approves",
        )
    return others


async def _named(
    session: Session, request: ListResolutionsRequest, names: tuple[str, ...]
) -> list[Resolution]:
    """The resolutions of these names, in this order.

    Raises:
        Complaint: one is not among those that the request asks for.
    """
    listed = await collect(session.stubs.reconciliation.ListResolutions, request, MAX_ITEMS)
    by_name = {each.name: each for each in listed.resolutions}
    if missing := [name for name in names if name not in by_name]:
        waiting = bool(request.states)
        raise Complaint(
            "no such proposal waits" if waiting else "no such resolution",
            "没有这样的待批准处理" if waiting else "没有这样的处理",
            *missing,
        )
    return [by_name[name] for name in names]


def _show_before(session: Session, proposed: list[Resolution]) -> None:
    if len(proposed) == 1:
        resolution_view.show_on_error(resolution_view.facts(proposed[0], session), session)
        return
    rows = (resolution_view.row(each, session) for each in proposed)
    session.screen.table(resolution_view.RESOLUTIONS, rows, on_error=True)
    session.screen.say(f"共 {len(proposed)} 项", f"{len(proposed)} in all")


async def _approve_one(session: Session, name: str, note: str) -> None:
    request = ApproveResolutionRequest(name=name, note=note, request_id=new_request_id())
    answer = await call(session.stubs.reconciliation.ApproveResolution, request)
    session.screen.one(answer, resolution_view.facts(answer.resolution, session))


async def _approve_many(session: Session, names: list[str], note: str) -> int | None:
    answer = ApproveResolutionsResponse()
    for part in _in_parts(names):
        request = ApproveResolutionsRequest(names=part, note=note, request_id=new_request_id())
        method = session.stubs.reconciliation.ApproveResolutions
        answer.MergeFrom(await call(method, request, LONG_TIMEOUT_S))
    if session.screen.as_json:
        session.screen.json(answer)
    return resolution_view.report(answer.outcomes, session)


def _in_parts(names: list[str]) -> Iterator[list[str]]:
    left = iter(names)
    while part := list(islice(left, PART_SIZE)):
        yield part


def _fund(name: str) -> str:
    return name.partition("/resolutions/")[0]
