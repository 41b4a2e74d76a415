"""`xinyi case accept`: what runs proposed, proposed by a person for many cases at once."""

from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Final

import typer
from xinyi.v1.reconciliation_service_pb2 import (
    AcceptProposalsRequest,
    AcceptProposalsResponse,
    Case,
    CaseState,
    ListCasesRequest,
    ReadCase,
)

from gateway.cli import case_view, resolution_view
from gateway.cli.case_filter import Wanted, filtered
from gateway.cli.frame import Session
from gateway.cli.options import Yes, new_request_id
from gateway.cli.status import MISMATCH
from gateway.client import LONG_TIMEOUT_S, MAX_ITEMS, call, collect

PART_SIZE: Final = 1000
"""So many go into one call."""
_STRONG: Final = "proposed_"
"""How the cause of a case begins where its run proposed a match."""


@filtered
async def accept(
    session: Session,
    wanted: Wanted,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Why; that you looked at them, if left out.")
    ] = "",
    preview: Annotated[
        bool, typer.Option("--preview", help="Only show which; propose nothing.")
    ] = False,
    yes: Yes = False,
) -> int | None:
    """Propose the matches that the night found likely but not certain, after you looked at them.

    The gateway looks at each again. Nothing is matched before another person approves:
    `xinyi resolution approve --all-proposed`. Exit status 1 where one was not accepted.
    """
    cases = await _strong(session, wanted)
    if cases:
        shown = case_view.rows(cases, session)
        session.screen.table(case_view.CASES, shown, on_error=not preview)
    case_view.summarise(cases, session)
    if preview or not cases:
        return None
    if not (yes or session.screen.agree("已逐项看过，全部提议吗？", "Propose all of these?")):
        session.screen.say("未提议", "nothing was proposed")
        return MISMATCH
    answer = AcceptProposalsResponse()
    why = reason or session.screen.pick(
        "经查看，采纳系统提议的匹配", "looked at, as the run proposes"
    )
    for part in _in_parts(cases):
        request = AcceptProposalsRequest(cases=part, reason=why, request_id=new_request_id())
        method = session.stubs.reconciliation.AcceptProposals
        answer.MergeFrom(await call(method, request, LONG_TIMEOUT_S))
    if session.screen.as_json:
        session.screen.json(answer)
    return resolution_view.report(answer.outcomes, session)


async def _strong(session: Session, wanted: Wanted) -> list[Case]:
    """The open cases whose run proposed a match."""
    chosen = wanted.filter
    if not chosen.states:
        chosen.states.append(CaseState.CASE_STATE_OPEN)
    request = ListCasesRequest(parent=wanted.parent, filter=chosen)
    listed = await collect(session.stubs.reconciliation.ListCases, request, MAX_ITEMS)
    return [case for case in listed.cases if case.cause.startswith(_STRONG)]


def _in_parts(cases: list[Case]) -> Iterator[list[ReadCase]]:
    read = (ReadCase(name=case.name, etag=case.etag) for case in cases)
    while part := list(islice(read, PART_SIZE)):
        yield part
