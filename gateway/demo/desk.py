"""What the trustee's desk does in the demo about what a night has left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xinyi.v1 import common_pb2 as common
from xinyi.v1 import reconciliation_service_pb2 as pb

from gateway.client import call
from gateway.demo import world
from gateway.demo.people import refusal, request_id

if TYPE_CHECKING:
    from gateway.demo.people import People


@dataclass(frozen=True, slots=True)
class Desk:
    """Two persons, one of whom proposes what the other approves."""

    people: People

    async def propose_fee(self, estate: world.Estate) -> pb.Resolution:
        """The maker proposes to book the charge that the bank took and the ledger lacks."""
        maker = (await self.people.calls(world.MAKER)).reconciliation
        wanted = pb.CaseFilter(cause="bank_fee")
        asked = pb.ListCasesRequest(parent=f"funds/{estate.estate_id}", filter=wanted)
        (case,) = (await call(maker.ListCases, asked)).cases
        line = pb.Adjustment(
            book=common.BOOK_COMMON, category="银行手续费", summary="银行账户管理费"
        )
        resolution = pb.Resolution(
            action=pb.RESOLUTION_ACTION_ADJUST,
            adjustment=line,
            reason="银行扣收的账户管理费，账上尚无",
        )
        request = pb.ProposeResolutionRequest(
            parent=case.name, resolution=resolution, etag=case.etag, request_id=request_id()
        )
        return (await call(maker.ProposeResolution, request)).resolution

    async def approval_refused(self, person: world.Person, resolution: pb.Resolution) -> str:
        """Why this person may not approve."""
        calls = (await self.people.calls(person)).reconciliation
        return await refusal(calls.ApproveResolution, _approval(resolution))

    async def approve(self, resolution: pb.Resolution) -> pb.Case:
        """The checker approves; the case as it stands then."""
        checker = (await self.people.calls(world.CHECKER)).reconciliation
        await call(checker.ApproveResolution, _approval(resolution))
        return (await call(checker.GetCase, pb.GetCaseRequest(name=resolution.case))).case


def _approval(resolution: pb.Resolution) -> pb.ApproveResolutionRequest:
    return pb.ApproveResolutionRequest(name=resolution.name, request_id=request_id())
