"""A case as a gateway tells of it, with everything that it can have."""

from __future__ import annotations

from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date  # type: ignore[import-untyped] # it ships no stubs
from xinyi.v1.common_pb2 import BOOK_COMMON, Money
from xinyi.v1.reconciliation_service_pb2 import (
    CASE_KIND_AMOUNT_DIFFERS,
    CASE_SIDE_BANK,
    CASE_SIDE_LEDGER,
    CASE_STATE_OPEN,
    EVIDENCE_RESULT_AGREES,
    EVIDENCE_RESULT_CLOSE,
    EVIDENCE_RESULT_DIFFERS,
    RESOLUTION_ACTION_ADJUST,
    RESOLUTION_STATE_PROPOSED,
    Adjustment,
    Allocation,
    Candidate,
    Case,
    CaseEvent,
    CaseMember,
    Evidence,
    Explanation,
    GetCaseResponse,
    Resolution,
)

FUND = "funds/wutong"
ID = "0123456789abcdef" * 2
CASE = f"{FUND}/cases/{ID}"
RUN = "reconciliationRuns/run-1"
ENTRY = f"{FUND}/bankEntries/e9k2m"
LINE = f"{FUND}/lines/12"
RESOLUTION = f"{FUND}/resolutions/res-1"
MAKER = "parties/xinyi-trust/persons/maker"
CHECKER = "parties/xinyi-trust/persons/checker"


def yuan(fen: int) -> Money:
    return Money(amount_minor=fen, currency="CNY")


def case(name: str = CASE, **changes: Any) -> Case:
    said: dict[str, Any] = {
        "name": name,
        "kind": CASE_KIND_AMOUNT_DIFFERS,
        "cause": "proposed_fee_adjustment",
        "detail": "the bank booked 5.00 more than line 12",
        "bank_account": f"{FUND}/bankAccounts/main",
        "amount": yuan(-500),
        "weight": yuan(500),
        "oldest_date": Date(year=2026, month=11, day=2),
        "due_date": Date(year=2026, month=11, day=9),
        "run": RUN,
        "state": CASE_STATE_OPEN,
        "assignee": MAKER,
        "overdue": True,
        "escalation": 1,
        "etag": "7",
    }
    return Case(**{**said, **changes})


def entry() -> CaseMember:
    return CaseMember(
        side=CASE_SIDE_BANK,
        name=ENTRY,
        amount=yuan(-128500),
        open_amount=yuan(-128500),
        date=Date(year=2026, month=11, day=2),
        reference="B2026110200017",
        text="电梯维修 手续费",
        counterparty_name="锐达电梯工程有限公司",
        counterparty_account="6222020000000001",
    )


def line() -> CaseMember:
    return CaseMember(
        side=CASE_SIDE_LEDGER,
        name=LINE,
        amount=yuan(-128000),
        open_amount=yuan(-128000),
        date=Date(year=2026, month=11, day=1),
        reference="p1",
        text="电梯钢丝绳更换",
        counterparty_name="锐达电梯工程",
    )


def evidence() -> list[Evidence]:
    return [
        Evidence(
            field="amount",
            bank_value="-1,285.00",
            ledger_value="-1,280.00",
            result=EVIDENCE_RESULT_CLOSE,
            detail="difference_minor=-500",
        ),
        Evidence(
            field="counterparty_name",
            bank_value="锐达电梯工程有限公司",
            ledger_value="锐达电梯工程",
            result=EVIDENCE_RESULT_AGREES,
            detail="cut",
        ),
        Evidence(
            field="reference",
            bank_value="B2026110200017",
            ledger_value="P1",
            result=EVIDENCE_RESULT_DIFFERS,
        ),
    ]


def resolution(name: str = RESOLUTION, **changes: Any) -> Resolution:
    said: dict[str, Any] = {
        "name": name,
        "case": CASE,
        "action": RESOLUTION_ACTION_ADJUST,
        "allocations": [
            Allocation(name=ENTRY, amount=yuan(-128500)),
            Allocation(name=LINE),
        ],
        "adjustment": Adjustment(
            book=BOOK_COMMON,
            category="银行手续费",
            summary="转账手续费",
            amount=yuan(-500),
            effective_date=Date(year=2026, month=11, day=2),
        ),
        "reason": "银行按笔收取",
        "state": RESOLUTION_STATE_PROPOSED,
        "proposer": MAKER,
        "create_time": Timestamp(seconds=1_795_000_000),
    }
    return Resolution(**{**said, **changes})


def explanation() -> Explanation:
    rule: dict[str, Any] = {"pass": "fee_adjustment"}  # a word of Python's
    return Explanation(
        **rule,
        rules_version="1 3f9a",
        run=RUN,
        input_digest="ab" * 8,
        bank_candidates=1,
        ledger_candidates=3,
        runner_up='{"side":"ledger","id":"14","score":305,'
        '"lost_by":["amount differs by -500","3 days apart","matched elsewhere with own_id"]}',
    )


def whole_case(**changes: Any) -> GetCaseResponse:
    other = f"{FUND}/cases/{'fe' * 16}"
    return GetCaseResponse(
        case=case(members=[entry(), line()], proposal=resolution(), **changes),
        evidence=evidence(),
        candidates=[
            Candidate(member=line(), rank=1, score=1234, evidence=evidence()),
            Candidate(member=line(), rank=2, score=-305, evidence=evidence()[2:], case=other),
        ],
        events=[
            CaseEvent(kind="FOUND", actor=RUN, create_time=Timestamp(seconds=1_794_900_000)),
            CaseEvent(
                kind="PROPOSED",
                actor=MAKER,
                detail="ADJUST",
                resolution=RESOLUTION,
                create_time=Timestamp(seconds=1_795_000_000),
            ),
        ],
        explanation=explanation(),
    )
