"""`xinyi rule`: how often people took back what a rule had matched."""

from xinyi.v1.reconciliation_service_pb2 import ListRuleRecordsRequest

from gateway.cli.frame import OPERATOR, Session, group, remote
from gateway.cli.labels import rule
from gateway.cli.options import Limit
from gateway.cli.screen import Column
from gateway.client import collect

app = group("Rules of matching: how often they were wrong 规则.")

_RECORDS = (
    Column("规则", "Rule"),
    Column("自动匹配", "Matched", right=True),
    Column("被人撤销", "Taken back", right=True),
    Column("百万分之", "Per million", right=True),
    Column("上限", "Limit", right=True),
    Column("只提议", "Only proposes"),
    Column("规则版本", "Rules", prose=True),
)


@remote(app, "list", OPERATOR)
async def _list(session: Session, limit: Limit = 500) -> None:
    """List how often people took back each rule's matches; one over its limit only proposes."""
    request = ListRuleRecordsRequest()
    answer = await collect(session.stubs.reconciliation.ListRuleRecords, request, limit)
    rows = (
        (
            rule(record.rule, session.screen.lang),
            f"{record.match_count:,}",
            f"{record.reversed_count:,}",
            f"{record.reversed_per_million:,}",
            f"{record.limit_per_million:,}",
            session.screen.pick("是", "yes") if record.demoted else session.screen.pick("否", "no"),
            record.rules_version,
        )
        for record in answer.records
    )
    session.screen.list(answer, _RECORDS, rows)
    if not answer.records:
        session.screen.say("还没有自动匹配", "nothing was matched yet")
