"""People at work on cases: short ways to call the gateway, and what must hold whatever they do."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import grpc
from xinyi.v1 import common_pb2
from xinyi.v1 import reconciliation_service_pb2 as pb

from gateway.client import decode_error
from gateway.ledger.balances import fund_balance
from gateway.registry import parties
from gateway.rpc.convert import day
from gateway.store import GATEWAY
from gateway.store import tables as t
from tests.gateway.ledger.sums import check_sums
from tests.gateway.night.world import World
from tests.gateway.support import CHECKER, MAKER, NOW, OPERATOR, TODAY, Who, request_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from gateway.app import Gateway
    from gateway.store import Store
    from tests.gateway.support import Callers, StillClock

FUND = "wutong"
OTHER_FUND = "jinjiang"


def yuan(amount_minor: int) -> common_pb2.Money:
    return common_pb2.Money(amount_minor=amount_minor, currency="CNY")


def entry_name(entry_id: str, fund_id: str = FUND) -> str:
    return f"funds/{fund_id}/bankEntries/{entry_id}"


def line_name(number: int, fund_id: str = FUND) -> str:
    return f"funds/{fund_id}/lines/{number}"


def adjustment(**fields: Any) -> pb.Adjustment:
    usual = {"book": common_pb2.BOOK_COMMON, "category": "银行手续费", "summary": "十一月手续费"}
    return pb.Adjustment(**{**usual, **fields})


def taking(*parts: tuple[str, int | None]) -> list[pb.Allocation]:
    return [
        pb.Allocation(name=name, amount=None if minor is None else yuan(minor))
        for name, minor in parts
    ]


@dataclass(slots=True)
class Desk:
    """The running gateway with its people, and a bank and a ledger to fill."""

    gateway: Gateway
    callers: Callers
    clock: StillClock
    _world: World | None = None

    @property
    def store(self) -> Store:
        return self.gateway.store

    @property
    def world(self) -> World:
        """The same one throughout, because it numbers what it makes."""
        if self._world is None:
            self._world = World(self.store, self.clock(), self.gateway.nights.directory)
        return self._world

    async def cases_of(self, who: Who) -> Any:
        """The service, called by this person."""
        return (await self.callers.as_(who)).reconciliation

    # --- bank and ledger ------------------------------------------------------------------------

    async def entry(self, amount_minor: int, fund_id: str = FUND, **more: Any) -> str:
        """An entry of today's; its name."""
        rows = [{"amount_minor": amount_minor, **more}]
        (entry_id,) = await self.world.statement(fund_id, TODAY, rows)
        return entry_name(entry_id, fund_id)

    async def line(self, amount_minor: int, fund_id: str = FUND, **more: Any) -> str:
        """A line of today's; its name."""
        day_ = more.pop("day", TODAY)
        posted = await self.world.line(fund_id, amount_minor, day_, **more)
        return line_name(posted.line_number, fund_id)

    async def night(self) -> pb.Run:
        service = await self.cases_of(OPERATOR)
        request = pb.StartRunRequest(date=day(TODAY), request_id=request_id())
        run: pb.Run = (await service.StartRun(request)).run
        return run

    # --- cases ----------------------------------------------------------------------------------

    async def listed(self, who: Who = OPERATOR, **fields: Any) -> list[pb.Case]:
        parent = fields.pop("parent", "funds/-")
        order = fields.pop("order", pb.CASE_ORDER_UNSPECIFIED)
        request = pb.ListCasesRequest(parent=parent, filter=pb.CaseFilter(**fields), order=order)
        service = await self.cases_of(who)
        return list((await service.ListCases(request)).cases)

    async def case(self, name: str, who: Who = OPERATOR) -> pb.GetCaseResponse:
        service = await self.cases_of(who)
        answer: pb.GetCaseResponse = await service.GetCase(pb.GetCaseRequest(name=name))
        return answer

    async def case_with(self, member: str) -> pb.Case:
        """The one open case that this row is in."""
        found = [(await self.case(each.name)).case for each in await self.listed()]
        (case,) = [each for each in found if member in {row.name for row in each.members}]
        return case

    async def only_case(self) -> pb.Case:
        (case,) = await self.listed()
        return (await self.case(case.name)).case

    async def propose(
        self, case: pb.Case, action: str, who: Who = MAKER, **fields: Any
    ) -> pb.Resolution:
        answer = await self.proposing(case, action, who, **fields)
        resolution: pb.Resolution = answer.resolution
        return resolution

    async def proposing(self, case: pb.Case, action: str, who: Who = MAKER, **fields: Any) -> Any:
        """The call itself, to be answered or refused."""
        fields.setdefault("reason", "so it was")
        service = await self.cases_of(who)
        extra = {name: fields.pop(name) for name in ("validate_only",) if name in fields}
        number = pb.ResolutionAction.Value(f"RESOLUTION_ACTION_{action}")
        return await service.ProposeResolution(
            pb.ProposeResolutionRequest(
                parent=case.name,
                resolution=pb.Resolution(action=number, **fields),
                etag=fields.pop("etag", case.etag),
                request_id=request_id(),
                **extra,
            )
        )

    async def approve(self, resolution: pb.Resolution, who: Who = CHECKER) -> pb.Resolution:
        service = await self.cases_of(who)
        request = pb.ApproveResolutionRequest(name=resolution.name, request_id=request_id())
        approved: pb.Resolution = (await service.ApproveResolution(request)).resolution
        return approved

    async def undo(self, resolution: pb.Resolution, who: Who = CHECKER) -> pb.Resolution:
        service = await self.cases_of(who)
        request = pb.UndoResolutionRequest(
            name=resolution.name, reason="it was wrong", request_id=request_id()
        )
        undone: pb.Resolution = (await service.UndoResolution(request)).resolution
        return undone

    async def decide(self, case: pb.Case, action: str, **fields: Any) -> pb.Resolution:
        return await self.approve(await self.propose(case, action, **fields))

    # --- people ---------------------------------------------------------------------------------

    async def enrol(self, who: Who, *, human: str = "", new_party: bool = False) -> None:
        """Registers somebody more; `human` for a person who acts for another party already."""
        pair = self.callers.pki.issue(who)
        async with self.store.transaction(GATEWAY) as conn:
            if new_party:
                await parties.create_party(conn, who.party_id, display_name="某机构", now=NOW)
            await parties.create_person(
                conn,
                who.party_id,
                who.person_id,
                display_name="某人",
                natural_person=human or sha256(who.name.encode()).hexdigest(),
                roles=[who.role],
                now=NOW,
            )
            pem = pair.certificate_pem.decode()
            await parties.create_certificate(conn, who.party_id, who.person_id, pem=pem, now=NOW)
        self.callers.pki.people[who] = pair

    # --- what must hold -------------------------------------------------------------------------

    async def check(self, fund_id: str = FUND) -> None:
        await check_books(self.store, fund_id)

    async def pending(self, fund_id: str = FUND) -> int:
        """Of all books, what the bank has not confirmed."""
        async with self.store.transaction(GATEWAY) as conn:
            balance = await fund_balance(conn, fund_id, None)
        return sum(book.pending_minor for book in balance.books)


async def check_books(store: Store, fund_id: str) -> None:
    """Bank, books, lines, matches and open items agree to the fen, at this very moment."""
    world = World(store)
    lines = await world.rows(t.disclosed_lines, fund_id=fund_id)
    entries = await world.rows(t.bank_entries, fund_id=fund_id)
    postings = await world.rows(t.postings, fund_id=fund_id)
    kinds: Counter[str] = Counter()
    for row in postings:
        kinds[row["account_kind"]] += row["amount_minor"]
    async with store.transaction(GATEWAY) as conn:
        now = await fund_balance(conn, fund_id, None)
        then = await fund_balance(conn, fund_id, TODAY)
    disclosed = sum(line["amount_minor"] for line in lines)
    assert kinds["BANK"] + kinds["TRANSIT"] == -kinds["BOOK"] == disclosed
    assert (now.bank_minor, now.transit_minor) == (kinds["BANK"], kinds["TRANSIT"])
    assert [(b.total_minor, b.pending_minor) for b in then.books] == [
        (b.total_minor, b.pending_minor) for b in now.books
    ]
    _check_pending(lines, now)
    open_minor = sum(map(_open, entries)) - sum(map(_open, lines))
    assert now.bank_minor - disclosed == open_minor
    await _check_taken(world, fund_id, entries, lines)
    await check_sums(store)


def _check_pending(lines: Sequence[dict[str, Any]], now: Any) -> None:
    for book in now.books:
        pending = [x for x in lines if x["book"] == book.book and not x["settled"]]
        assert book.pending_minor == sum(line["amount_minor"] for line in pending)


def _open(row: dict[str, Any]) -> int:
    return 0 if row["match_id"] else row["amount_minor"] - row["taken_minor"]


async def _check_taken(
    world: World, fund_id: str, entries: Sequence[dict[str, Any]], lines: Sequence[dict[str, Any]]
) -> None:
    """What matches in force take of a row is what is not open of it, and each match is even."""
    matches = await world.rows(t.matches, fund_id=fund_id)
    active = {(m["match_id"], m["made_by"]) for m in matches if m["undone_at"] is None}
    taken: Counter[tuple[str, str]] = Counter()
    sums: Counter[tuple[str, str]] = Counter()
    for row in await world.rows(t.match_members, fund_id=fund_id):
        match = (row["match_id"], row["made_by"])
        sign = 1 if row["side"] == "bank" else -1
        sums[match] += sign * row["allocated_minor"]
        if match in active:
            taken[row["side"], row["member_id"]] += row["allocated_minor"]
    assert set(sums.values()) <= {0}
    known = [("bank", x["bank_entry_id"], x) for x in entries]
    known += [("ledger", str(x["line_number"]), x) for x in lines]
    for side, member_id, row in known:
        # Openings, and lines closed with their corrections, are in no match.
        if not row["match_id"].startswith(("opening", "void-")):
            assert taken[side, member_id] == row["amount_minor"] - _open(row)


async def outcomes(*calls: Awaitable[Any]) -> list[str]:
    """The refusals' reasons of calls at one moment, empty for what was answered."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    reasons = []
    for answer in answers:
        if isinstance(answer, grpc.aio.AioRpcError):
            reasons.append(decode_error(answer).reason)
        else:
            assert not isinstance(answer, BaseException), answer
            reasons.append("")
    return sorted(reasons)
