"""Small words for entries, lines and what came of them."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from typing import Any

import polars as pl

from reconciliation.frames import BANK, LEDGER
from reconciliation.matching.kernel import Result, match
from reconciliation.rules import Rules

Row = dict[str, Any]

START = date(2026, 3, 2)
LATE = START + timedelta(days=60)


def entry(entry_id: str, amount: int, day: int = 0, **fields: Any) -> Row:
    common = {"account_id": "ACC-1", "currency": "CNY", "amount_minor": amount}
    return common | {"entry_id": entry_id, "booking_date": START + timedelta(days=day)} | fields


def line(line_id: str, amount: int, day: int = 0, **fields: Any) -> Row:
    common = {"account_id": "ACC-1", "currency": "CNY", "amount_minor": amount}
    return common | {"line_id": line_id, "effective_date": START + timedelta(days=day)} | fields


def bank_frame(rows: list[Row]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict(BANK.columns))


def ledger_frame(rows: list[Row]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict(LEDGER.columns))


def run(
    bank: list[Row], ledger: list[Row], *, as_of: date = LATE, rules: Rules | None = None
) -> Result:
    return match(bank_frame(bank), ledger_frame(ledger), rules or Rules(), as_of)


def matched(result: Result) -> dict[str, set[frozenset[str]]]:
    """The members of every match that needs no person, by rule."""
    return _by_rule(result, "automatic")


def proposed(result: Result) -> dict[str, set[frozenset[str]]]:
    """The members of every match that a person has to accept, by rule."""
    return _by_rule(result, "proposed")


def paired(result: Result) -> dict[str, set[frozenset[str]]]:
    """The members of every match, whether it needs a person or not, by rule."""
    return matched(result) | proposed(result)


def _by_rule(result: Result, status: str) -> dict[str, set[frozenset[str]]]:
    matches = result.matches.filter(status=status)
    groups = matches.group_by("rule", "match_id").agg("member_id")
    found: dict[str, set[frozenset[str]]] = defaultdict(set)
    for rule, _, members in groups.iter_rows():
        found[rule].add(frozenset(members))
    return dict(found)


def cased(result: Result) -> dict[tuple[str, str], set[frozenset[str]]]:
    """The members of every case, by kind and cause."""
    groups = result.cases.group_by("kind", "cause", "case_id").agg("member_id")
    found: dict[tuple[str, str], set[frozenset[str]]] = defaultdict(set)
    for kind, cause, _, members in groups.iter_rows():
        found[kind, cause].add(frozenset(members))
    return dict(found)


def detail(result: Result) -> str:
    """The sentence of the only case."""
    (sentence,) = set(result.cases["detail"])
    return str(sentence)


def one(*members: str) -> set[frozenset[str]]:
    """A single group."""
    return {frozenset(members)}


def each(*members: str) -> set[frozenset[str]]:
    """A group for every member."""
    return {frozenset([member]) for member in members}
