"""AuditService: the audit log, and what two parties acknowledge after data was lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xinyi.v1 import audit_service_pb2 as pb
from xinyi.v1.audit_service_pb2_grpc import AuditServiceServicer

from gateway.audit.listing import Chosen, list_entries
from gateway.domain.errors import not_found
from gateway.domain.party import Role, person_name
from gateway.recovery.acknowledge import Assent, acknowledge, assents_to
from gateway.recovery.loss import Loss, assess
from gateway.rpc.caller import current_caller
from gateway.rpc.convert import enum_name, moment, moment_of, money, split_name
from gateway.rpc.once import once
from gateway.rpc.paging import next_token, page_of
from gateway.store import GATEWAY, bind

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from adapters.reach import Banks
    from gateway.audit.keeper import Keeper
    from gateway.clock import Clock
    from gateway.recovery.loss import LostFile
    from gateway.store import Row, Store


@dataclass(frozen=True, slots=True)
class AuditServicer(AuditServiceServicer):
    """The contract's methods over `gateway.audit` and `gateway.recovery`.

    Attributes:
        store: the database.
        clock: the present moment.
        banks: whose folders prove what was sent.
        keeper: knows which anchors the database lacks.
    """

    store: Store
    clock: Clock
    banks: Banks
    keeper: Keeper

    async def ListAuditEntries(  # noqa: N802 - the contract's name
        self,
        request: pb.ListAuditEntriesRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.ListAuditEntriesResponse:
        """Entries, newest first."""
        chosen = _chosen(request)
        query_key = f"ListAuditEntries/{chosen}"
        page = page_of(request, query_key, int)
        before = int(page.after[0]) if page.after else None
        async with self.store.transaction(current_caller().scope) as conn:
            rows = await list_entries(conn, chosen, before, page.fetch)
        return pb.ListAuditEntriesResponse(
            entries=map(_entry, rows[: page.size]),
            next_page_token=next_token(
                query_key, rows, page.size, lambda row: (str(row.entry_id),)
            ),
        )

    async def GetRollback(  # noqa: N802 - the contract's name
        self,
        request: pb.GetRollbackRequest,  # noqa: ARG002 - it is empty
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.GetRollbackResponse:
        """What is lost."""
        async with self.store.transaction(GATEWAY) as conn:
            loss = await self._loss(conn)
            assents = await assents_to(conn, loss)
        return pb.GetRollbackResponse(
            rollback=_rollback(loss, [person_name(row.party_id, row.person_id) for row in assents])
        )

    async def AcknowledgeRollback(  # noqa: N802 - the contract's name
        self,
        request: pb.AcknowledgeRollbackRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.AcknowledgeRollbackResponse:
        """Keeps an acknowledgement."""
        caller = current_caller()

        async def work(conn: AsyncConnection) -> pb.AcknowledgeRollbackResponse:
            await bind(conn, GATEWAY)  # what is lost may be of any fund
            assent = Assent(
                party_id=caller.party_id,
                person_id=caller.person_id,
                natural_person=caller.natural_person,
                operator=Role.OPERATOR in caller.roles,
                report_digest=request.report_digest,
                now=self.clock(),
            )
            complete = await acknowledge(conn, await self._loss(conn), assent, self.banks)
            return pb.AcknowledgeRollbackResponse(complete=complete)

        answer = await once(self.store, caller, request, pb.AcknowledgeRollbackResponse, work)
        await self.keeper.keep()
        return answer

    async def _loss(self, conn: AsyncConnection) -> Loss:
        if not self.keeper.lost:
            raise not_found("rollback")
        return await assess(conn, self.keeper.lost, self.banks)


def _chosen(request: pb.ListAuditEntriesRequest) -> Chosen:
    party_id = split_name(request.party, "parties/{}", "party")[0] if request.party else ""
    start = moment_of(request.start_time, "start_time") if request.HasField("start_time") else None
    end = moment_of(request.end_time, "end_time") if request.HasField("end_time") else None
    outcome = enum_name(pb.AuditOutcome, request.outcome)
    done = None if outcome == "UNSPECIFIED" else outcome == "DONE"
    return Chosen(party_id, request.method, request.resource, start, end, done)


def _entry(row: Row) -> pb.AuditEntry:
    return pb.AuditEntry(
        sequence=row.sequence or 0,
        time=moment(row.at),
        person=person_name(row.party_id, row.person_id) if row.party_id else "",
        certificate_fingerprint=row.fingerprint,
        peer=row.peer,
        method=row.method,
        resource=row.resource,
        request_id=row.request_id,
        request_digest=row.request_digest,
        code=row.code,
        reason=row.reason,
        digest=row.digest.hex(),
        hash=row.hash.hex() if row.hash else "",
    )


def _rollback(loss: Loss, acknowledged_by: list[str]) -> pb.Rollback:
    return pb.Rollback(
        anchors=[
            pb.Anchor(
                sequence=anchor.head.sequence,
                hash=anchor.head.hash.hex(),
                time=moment(anchor.at),
            )
            for anchor in loss.anchors
        ],
        sequence=loss.head.sequence,
        last_time=moment(loss.last_at),
        files=map(_file, loss.files),
        report_digest=loss.digest,
        acknowledged_by=acknowledged_by,
    )


def _file(file: LostFile) -> pb.LostFile:
    return pb.LostFile(
        profile=file.profile_id,
        file_name=file.name,
        sha256=file.sha256,
        payments=[
            pb.LostPayment(
                reference=payment.reference,
                amount=money(payment.amount_minor, payment.currency),
                account_ending=payment.account_ending,
                payment=payment.name,
            )
            for payment in file.payments
        ],
    )
