"""Short ways to set rules and to disclose periods at the running gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xinyi.v1 import duty_service_pb2 as pb

from reconciliation.rules import Rules
from tests.gateway.support import CHECKER, FIRM, OPERATOR, OWNER, Callers, Who, confirm, request_id

if TYPE_CHECKING:
    from collections.abc import Sequence

FUND = "funds/wutong"
TRANSIT_DAYS = Rules().transit_days
MONTHLY = pb.DisclosureClock(cycle=pb.DISCLOSURE_CYCLE_MONTHLY, due_day=10)


async def propose_rules(
    callers: Callers, who: Who = OPERATOR, parent: str = FUND, **fields: Any
) -> pb.SetDisclosureRulesResponse:
    request = pb.SetDisclosureRulesRequest(
        parent=parent, disclosure_rules=pb.DisclosureRules(**fields), request_id=request_id()
    )
    service = (await callers.as_(who)).duties
    answer: pb.SetDisclosureRulesResponse = await service.SetDisclosureRules(request)
    return answer


async def set_rules(callers: Callers, **fields: Any) -> pb.DisclosureRules:
    """Sets rules by two parties."""
    proposed = await propose_rules(callers, **fields)
    await confirm(callers, CHECKER, proposed.change)
    return await rules(callers)


async def rules(callers: Callers, parent: str = FUND) -> pb.DisclosureRules:
    service = (await callers.as_(OWNER)).duties
    request = pb.GetDisclosureRulesRequest(parent=parent)
    found: pb.DisclosureRules = (await service.GetDisclosureRules(request)).disclosure_rules
    return found


async def periods(callers: Callers, who: Who = OWNER, **fields: Any) -> Sequence[pb.Period]:
    request = pb.ListPeriodsRequest(parent=FUND, **fields)
    return list((await (await callers.as_(who)).duties.ListPeriods(request)).periods)


async def publish(callers: Callers, period_id: str, who: Who = FIRM) -> pb.Period:
    name = f"{FUND}/periods/{period_id}"
    request = pb.PublishPeriodRequest(name=name, request_id=request_id())
    period: pb.Period = (await (await callers.as_(who)).duties.PublishPeriod(request)).period
    return period
