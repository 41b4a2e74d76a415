"""DutyService: what is owed to the owners, and what was done of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from xinyi.v1 import common_pb2, disclosure_service_pb2
from xinyi.v1 import duty_service_pb2 as pb
from xinyi.v1.duty_service_pb2_grpc import DutyServiceServicer

from gateway.clock import bank_date
from gateway.disclosure.detail import Item, items_of_lines
from gateway.disclosure.pictures import Region
from gateway.disclosure.renditions import Renderer, keep_rendition
from gateway.domain.duties import BEFORE_ANY, Clock, Cycle, DisclosureRules
from gateway.domain.party import Role
from gateway.domain.split import Basis, Share
from gateway.duties.erasing import erase
from gateway.duties.itemising import itemise
from gateway.duties.periods import list_periods, period_name, publish
from gateway.duties.record import firm_record
from gateway.duties.rules import rules_name, rules_of, rules_row, set_rules
from gateway.payments.vouchers import load_voucher
from gateway.registry.changes import Subject
from gateway.registry.funds import get_fund
from gateway.registry.marks import Author
from gateway.rpc.caller import current_caller
from gateway.rpc.convert import (
    day,
    enum_name,
    enum_number,
    fund_id_of,
    minor_of,
    moment,
    split_name,
)
from gateway.rpc.disclosure import item_message, rendition_message
from gateway.rpc.once import once
from gateway.rpc.paging import next_token, page_of
from gateway.rpc.proposal import Proposal, propose
from gateway.rpc.resolutions import after_moment
from gateway.store import GATEWAY

if TYPE_CHECKING:
    from datetime import date

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.clock import Clock as PresentMoment
    from gateway.duties.periods import OwedPeriod
    from gateway.duties.record import Fact
    from gateway.rpc.caller import Caller
    from gateway.store import Row, Store

_LINE: Final = "funds/{}/lines/{}"
_PERIOD: Final = "funds/{}/periods/{}"
_AUTHORS: Final = (Role.PROPERTY_FIRM, Role.TRUSTEE_MAKER, Role.TRUSTEE_CHECKER)


@dataclass(frozen=True, slots=True)
class DutyServicer(DutyServiceServicer):
    """Keeps the rules of disclosure, and the record of what was done.

    Attributes:
        store: the database.
        clock: the present moment.
        renderer: makes pictures of vouchers.
    """

    store: Store
    clock: PresentMoment
    renderer: Renderer = field(default_factory=Renderer)

    async def SetDisclosureRules(  # noqa: N802 - the contract's name
        self,
        request: pb.SetDisclosureRulesRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.SetDisclosureRulesResponse:
        """Proposes the next version of the rules."""
        answer = pb.SetDisclosureRulesResponse
        return await propose(self.store, self.clock, DISCLOSURE_RULES, request, answer)

    async def GetDisclosureRules(  # noqa: N802 - the contract's name
        self,
        request: pb.GetDisclosureRulesRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.GetDisclosureRulesResponse:
        """The rules in force."""
        fund_id, scope = fund_id_of(request.parent), current_caller().scope
        async with self.store.transaction(scope) as conn:
            await get_fund(conn, scope, fund_id)
            row = await rules_row(conn, fund_id)
        rules = BEFORE_ANY if row is None else rules_of(row)
        since = None if row is None else row.created_at
        return pb.GetDisclosureRulesResponse(disclosure_rules=_rules(fund_id, rules, since))

    async def PublishPeriod(  # noqa: N802 - the contract's name
        self,
        request: pb.PublishPeriodRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.PublishPeriodResponse:
        """Records that a period was disclosed."""
        fund_id, period_id = split_name(request.name, _PERIOD)
        caller = current_caller()

        async def work(conn: AsyncConnection) -> pb.PublishPeriodResponse:
            now = self.clock()
            await publish(conn, fund_id, period_id, _author(caller), now)
            periods = await list_periods(conn, fund_id, bank_date(now))
            period = next(each for each in periods if each.owed.span.period_id == period_id)
            return pb.PublishPeriodResponse(period=_period(fund_id, period, bank_date(now)))

        return await once(self.store, caller, request, pb.PublishPeriodResponse, work)

    async def ListPeriods(  # noqa: N802 - the contract's name
        self,
        request: pb.ListPeriodsRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.ListPeriodsResponse:
        """Periods that are owed, the last due first."""
        fund_id, today = fund_id_of(request.parent), bank_date(self.clock())
        key = f"ListPeriods/{fund_id}"
        page = page_of(request, key, str, str)
        async with self.store.transaction(current_caller().scope) as conn:
            periods = await list_periods(conn, fund_id, today)
        rest = [each for each in periods if page.after is None or _key(each) < page.after]
        return pb.ListPeriodsResponse(
            periods=[_period(fund_id, each, today) for each in rest[: page.size]],
            next_page_token=next_token(key, rest, page.size, _key),
        )

    async def ItemiseLine(  # noqa: N802 - the contract's name
        self,
        request: pb.ItemiseLineRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.ItemiseLineResponse:
        """Says what a line consists of."""
        fund_id, line = split_name(request.name, _LINE)
        caller, number = current_caller(), int(line)

        async def work(conn: AsyncConnection) -> pb.ItemiseLineResponse:
            currency = (await get_fund(conn, caller.scope, fund_id)).currency
            items = [_item(item, currency, at) for at, item in enumerate(request.items)]
            await itemise(conn, fund_id, number, items, _author(caller), self.clock())
            stored = (await items_of_lines(conn, fund_id, [number]))[number]
            return pb.ItemiseLineResponse(items=[item_message(each, currency) for each in stored])

        return await once(self.store, caller, request, pb.ItemiseLineResponse, work)

    async def EraseLine(  # noqa: N802 - the contract's name
        self,
        request: pb.EraseLineRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.EraseLineResponse:
        """Proposes to erase what a line says of a person."""
        return await propose(self.store, self.clock, ERASURE, request, pb.EraseLineResponse)

    async def RenderVoucher(  # noqa: N802 - the contract's name
        self,
        request: pb.RenderVoucherRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.RenderVoucherResponse:
        """Makes what everybody may see of a voucher; no transaction waits for the pictures."""
        fund_id, sha256 = split_name(request.name, "funds/{}/vouchers/{}")
        caller, regions = current_caller(), list(map(_region, request.regions))
        async with self.store.transaction(caller.scope) as conn:
            voucher = await load_voucher(conn, fund_id, sha256)
        made = await self.renderer.pictures(voucher, regions)

        async def work(conn: AsyncConnection) -> pb.RenderVoucherResponse:
            row = await keep_rendition(conn, voucher, regions, made, _author(caller), self.clock())
            return pb.RenderVoucherResponse(rendition=rendition_message(row))

        return await once(self.store, caller, request, pb.RenderVoucherResponse, work)

    async def GetFirmRecord(  # noqa: N802 - the contract's name
        self,
        request: pb.GetFirmRecordRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.GetFirmRecordResponse:
        """What lapsed where a firm was appointed."""
        (party_id,) = split_name(request.name, "parties/{}")
        kinds = sorted(enum_name(pb.FactKind, kind) for kind in request.kinds)
        key = f"GetFirmRecord/{party_id}/{kinds}"
        page = page_of(request, key, datetime.fromisoformat, str, str, str)
        async with self.store.transaction(current_caller().scope) as conn:
            facts = await firm_record(conn, party_id, kinds, after_moment(page), page.fetch)
        return pb.GetFirmRecordResponse(
            facts=map(_fact, facts[: page.size]),
            next_page_token=next_token(key, facts, page.size, _fact_key),
        )


def _author(caller: Caller) -> Author:
    return Author(caller.party_id, caller.acting_as(_AUTHORS))


def _item(item: disclosure_service_pb2.LineItem, currency: str, at: int) -> Item:
    path = f"items[{at}].amount"
    return Item(item.label, item.count, minor_of(item.amount, currency, path))


def _region(region: disclosure_service_pb2.VoucherRegion) -> Region:
    return Region(region.page, region.x, region.y, region.width, region.height)


def _fact_key(fact: Fact) -> tuple[str, ...]:
    return fact.recorded_at.isoformat(), fact.fund_id, fact.kind, fact.subject


def _key(period: OwedPeriod) -> tuple[str, str]:
    return period.owed.due.isoformat(), period.owed.span.period_id


# --- what another party confirms ----------------------------------------------------------------


async def _subject(conn: AsyncConnection, request: pb.SetDisclosureRulesRequest) -> Subject:
    fund = await get_fund(conn, GATEWAY, fund_id_of(request.parent))
    return Subject(fund.estate_id)


async def _next_rules(
    conn: AsyncConnection, request: pb.SetDisclosureRulesRequest, now: datetime
) -> pb.DisclosureRules:
    fund_id = fund_id_of(request.parent)
    row = await set_rules(conn, fund_id, _asked(request.disclosure_rules), now=now)
    return _rules(fund_id, rules_of(row), row.created_at)


DISCLOSURE_RULES: Final = Proposal(
    pb.SetDisclosureRulesRequest, "disclosure_rules", _subject, _next_rules
)


async def _estate_of_line(conn: AsyncConnection, request: pb.EraseLineRequest) -> Subject:
    fund_id, _ = split_name(request.line, _LINE)
    return Subject((await get_fund(conn, GATEWAY, fund_id)).estate_id)


async def _erasure(
    conn: AsyncConnection, request: pb.EraseLineRequest, now: datetime
) -> pb.LineErasure:
    fund_id, number = split_name(request.line, _LINE)
    row = await erase(conn, fund_id, int(number), request.reason, now)
    return pb.LineErasure(
        name=f"{request.line}/erasure", reason=row.reason, create_time=moment(row.created_at)
    )


ERASURE: Final = Proposal(pb.EraseLineRequest, "erasure", _estate_of_line, _erasure)


def _asked(asked: pb.DisclosureRules) -> DisclosureRules:
    return DisclosureRules(
        version=asked.version,
        answer_working_days=asked.answer_working_days or BEFORE_ANY.answer_working_days,
        clocks=tuple(map(_asked_clock, asked.clocks)),
        itemised=tuple(asked.itemised_categories),
        share=_asked_share(asked.bill_share) if asked.HasField("bill_share") else None,
    )


def _asked_share(asked: pb.BillShare) -> Share:
    return Share(Basis(enum_name(pb.ShareBasis, asked.basis)), asked.weight)


def _asked_clock(asked: pb.DisclosureClock) -> Clock:
    cycle = Cycle(enum_name(pb.DisclosureCycle, asked.cycle))
    return Clock(cycle, asked.due_day, asked.posting_days)


# --- messages -----------------------------------------------------------------------------------


def _rules(fund_id: str, rules: DisclosureRules, since: datetime | None) -> pb.DisclosureRules:
    return pb.DisclosureRules(
        name=rules_name(fund_id),
        version=rules.version,
        answer_working_days=rules.answer_working_days,
        clocks=map(_clock, rules.clocks),
        itemised_categories=rules.itemised,
        create_time=moment(since),
        bill_share=_share(rules.share) if rules.share else None,
    )


def _share(share: Share) -> pb.BillShare:
    basis = pb.ShareBasis.ValueType(enum_number(pb.ShareBasis, share.basis))
    return pb.BillShare(basis=basis, weight=share.weight)


def _clock(clock: Clock) -> pb.DisclosureClock:
    cycle = pb.DisclosureCycle.ValueType(enum_number(pb.DisclosureCycle, clock.cycle))
    return pb.DisclosureClock(cycle=cycle, due_day=clock.due_day, posting_days=clock.posting_days)


def _period(fund_id: str, period: OwedPeriod, today: date) -> pb.Period:
    span = period.owed.span
    said = pb.Period(
        name=period_name(fund_id, span.period_id),
        start_date=day(span.first),
        end_date=day(span.last),
        due_date=day(period.owed.due),
        state=pb.PeriodState.Value(f"PERIOD_STATE_{period.state(today)}"),
        late=period.is_late(today),
        overdue_time=moment(period.overdue_at),
    )
    if period.publication is not None:
        said.MergeFrom(_publication(period.publication))
    return said


def _publication(row: Row) -> pb.Period:
    return pb.Period(
        publish_time=moment(row.created_at),
        publisher_role=common_pb2.Role.Value(f"ROLE_{row.role}"),
        publisher=row.party_name,
        post_until=day(row.posted_until),
        figures_sha256=row.figures_sha256,
        checkpoint=row.checkpoint,
    )


def _fact(fact: Fact) -> pb.Fact:
    return pb.Fact(
        kind=pb.FactKind.Value(f"FACT_KIND_{fact.kind}"),
        fund=f"funds/{fact.fund_id}",
        resource=fact.resource,
        due_date=day(fact.due),
        done_date=day(fact.done),
        record_time=moment(fact.recorded_at),
    )
