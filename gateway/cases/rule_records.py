"""How often each rule's matches were taken back by people, and which rules that demotes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from gateway.store import tables as t
from reconciliation.rules import Rules

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_MILLION: Final = 1_000_000
_LIMIT_PER_MILLION: Final = 100
_LEAST_REVERSALS: Final = 2


@dataclass(frozen=True, slots=True)
class RuleRecord:
    """One rule under one version of the rules.

    Attributes:
        rule: the rule.
        rules_version: version and digest.
        match_count: automatic matches that it made.
        reversed_count: of them, those that people took back one by one.
    """

    rule: str
    rules_version: str
    match_count: int
    reversed_count: int

    @property
    def reversed_per_million(self) -> int:
        """Reversed of a million, rounded up: one of very many is not none."""
        return -(-self.reversed_count * _MILLION // self.match_count)

    @property
    def demoted(self) -> bool:
        """Whether it is over its limit: what it finds is only proposed."""
        enough = self.reversed_count >= _LEAST_REVERSALS
        return enough and self.reversed_per_million > limit_per_million()


def limit_per_million() -> int:
    """How many of a million matches of a rule may be taken back."""
    return _LIMIT_PER_MILLION


def current_version() -> str:
    """Version and digest of the rules of today, as they stand in every match."""
    rules = Rules()
    return f"{rules.version} sha256:{rules.digest()}"


async def rule_records(conn: AsyncConnection) -> list[RuleRecord]:
    """Every rule that ever matched by itself, the newest rules first, then by rule.

    In the gateway's own scope: one fund's matches say too little of a rule, and counts name nobody.
    """
    m = t.matches.c
    query = (
        sa.select(
            m.rule,
            m.rules_version,
            sa.func.count().label("match_count"),
            sa.func.count().filter(m.kept_apart).label("reversed_count"),
            sa.func.max(m.created_at).label("newest"),
        )
        .where(m.status == "automatic")
        .group_by(m.rule, m.rules_version)
        .subquery()
    )
    newest = sa.func.max(query.c.newest).over(partition_by=query.c.rules_version)
    ordered = sa.select(*query.c[:4]).order_by(
        newest.desc(), query.c.rules_version.desc(), query.c.rule
    )
    return [RuleRecord(*row) for row in await conn.execute(ordered)]


async def demoted_rules(conn: AsyncConnection) -> frozenset[str]:
    """Rules over their limit under the rules of today."""
    version = current_version()
    records = await rule_records(conn)
    return frozenset(
        each.rule for each in records if each.demoted and each.rules_version == version
    )
