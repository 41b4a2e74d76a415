"""What holds for every input, and what a seeded city with known breaks must yield."""

from __future__ import annotations

import random
import unicodedata
from collections import Counter
from datetime import date, timedelta
from hashlib import sha256
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciliation.breaks import KINDS
from reconciliation.frames import InputError
from reconciliation.matching import core, kernel, own_id
from reconciliation.matching.core import Scene, folded
from reconciliation.matching.kernel import RULES, ConservationError, Result, match
from reconciliation.rules import Rules
from tests.reconciliation.builders import (
    LATE,
    START,
    Row,
    bank_frame,
    cased,
    entry,
    ledger_frame,
    line,
    proposed,
    run,
)

# Few values, so that ties, repeats, batches and near misses are the rule and not the exception.
ACCOUNTS = st.sampled_from(["A", "B"])
AMOUNTS = st.sampled_from([-300, -200, -100, 100, 200])
IDS = st.sampled_from([None, None, "P1", "P2", "NONREF"])
WORDS = st.sampled_from([None, None, "R1", "r-1", "P1", "fee"])
BATCHES = st.sampled_from([None, None, None, "W"])

COMMON: dict[str, st.SearchStrategy[Any]] = {
    "account_id": ACCOUNTS,
    "currency": st.sampled_from(["CNY", "CNY", "USD"]),
    "amount_minor": AMOUNTS,
    "reference": WORDS,
    "batch_id": BATCHES,
    "counterparty_account": st.sampled_from([None, "6222"]),
    "text": WORDS,
}
DAYS = st.integers(0, 12).map(lambda day: START + timedelta(days=day))
ENTRIES = st.lists(
    st.fixed_dictionaries(
        COMMON
        | {"booking_date": DAYS, "end_to_end_id": IDS, "reversal": st.sampled_from([None, True])}
    ),
    max_size=12,
).map(lambda rows: [row | {"entry_id": f"e{n}"} for n, row in enumerate(rows)])
LINES = st.lists(
    st.fixed_dictionaries(COMMON | {"effective_date": DAYS, "payment_id": IDS}), max_size=12
).map(lambda rows: [row | {"line_id": f"l{n}"} for n, row in enumerate(rows)])

Key = tuple[str, str, str]


def used(result: Result) -> list[Key]:
    columns = ["side", "account_id", "member_id"]
    return [*result.matches.select(columns).rows(), *result.cases.select(columns).rows()]


def given_rows(bank: list[Row], ledger: list[Row]) -> list[Key]:
    entries = [("bank", row["account_id"], row["entry_id"]) for row in bank]
    return entries + [("ledger", row["account_id"], row["line_id"]) for row in ledger]


@settings(max_examples=30, deadline=None)
@given(ENTRIES, LINES)
def test_every_row_ends_in_exactly_one_match_or_case(bank: list[Row], ledger: list[Row]) -> None:
    result = run(bank, ledger)
    assert sorted(used(result)) == sorted(given_rows(bank, ledger))
    assert set(result.cases["kind"]) <= set(KINDS)
    assert set(result.matches["rule"]) <= set(RULES)


@settings(max_examples=30, deadline=None)
@given(ENTRIES, LINES, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(
    bank: list[Row], ledger: list[Row], chance: random.Random
) -> None:
    first = run(bank, ledger)
    second = run(chance.sample(bank, len(bank)), chance.sample(ledger, len(ledger)))
    assert first.matches.equals(second.matches)
    assert first.cases.equals(second.cases)


@settings(max_examples=30, deadline=None)
@given(ENTRIES, LINES)
def test_a_match_allocates_the_same_on_both_sides_of_one_account(
    bank: list[Row], ledger: list[Row]
) -> None:
    for group in run(bank, ledger).matches.partition_by("match_id"):
        sums = dict(group.group_by("side").agg(pl.col("allocated_minor").sum()).iter_rows())
        assert sums.keys() == {"bank", "ledger"}
        assert sums["bank"] == sums["ledger"]
        assert group["account_id"].n_unique() == group["currency"].n_unique() == 1


@settings(max_examples=30, deadline=None)
@given(ENTRIES, LINES)
def test_no_pair_by_amount_had_another_candidate(bank: list[Row], ledger: list[Row]) -> None:
    """Swapping in any other row of equal amount, still open after the run, is out of the window."""
    result, rules = run(bank, ledger), Rules()
    entries = {(row["account_id"], row["entry_id"]): row for row in bank}
    lines = {(row["account_id"], row["line_id"]): row for row in ledger}
    tied = {
        (side, account, member)
        for kind, cause, side, account, member in result.cases.select(
            "kind", "cause", "side", "account_id", "member_id"
        ).iter_rows()
        if (kind, cause) == ("ambiguous", "equal_amounts")
    } | set(
        result.matches.filter(rule="equal_amounts").select("side", "account_id", "member_id").rows()
    )
    pairs = result.matches.filter(pl.col("rule") == "amount_window").partition_by("match_id")
    for pair in pairs:
        (account, e), (_, m) = pair.sort("side").select("account_id", "member_id").rows()
        mine = entries[account, e]
        for side, other, member in tied:
            if side == "ledger" and other == account:
                assert not could_pair(mine, lines[account, member], rules)
            if side == "bank" and other == account:
                assert not could_pair(entries[account, member], lines[account, m], rules)


def could_pair(bank: Row, ledger: Row, rules: Rules) -> bool:
    """The rule of the pass in plain words, for rows without ids or flags."""
    bare = not any((bank["end_to_end_id"], bank["batch_id"], bank["reversal"]))
    same = all(bank[name] == ledger[name] for name in ("amount_minor", "currency"))
    days = (bank["booking_date"] - ledger["effective_date"]).days
    return bare and same and -rules.window_days_before <= days <= rules.window_days_after


@settings(max_examples=20, deadline=None)
@given(ENTRIES, LINES)
def test_an_account_of_its_own_changes_nothing_for_the_others(
    bank: list[Row], ledger: list[Row]
) -> None:
    alone = run(bank, ledger)
    more = run(
        [*bank, entry("x", 100, account_id="Z"), entry("y", -100, account_id="0")],
        [*ledger, line("x", 100, account_id="Z"), line("y", 7, account_id="0")],
    )
    others = pl.col("account_id").is_in(["Z", "0"])
    assert more.matches.filter(~others).equals(alone.matches)
    key = ["case_id", "side", "member_id"]
    assert more.cases.filter(~others).sort(key).equals(alone.cases.sort(key))


@settings(max_examples=20, deadline=None)
@given(ENTRIES, LINES)
def test_two_empty_columns_are_as_good_as_none(bank: list[Row], ledger: list[Row]) -> None:
    full = run(bank, ledger)
    slim = match(
        bank_frame(bank).drop("value_date", "return_reason"),
        ledger_frame(ledger).drop("counterparty_name"),
        Rules(),
        LATE,
    )
    assert full.matches.equals(slim.matches)
    assert full.cases.equals(slim.cases)


@settings(deadline=None, max_examples=30)
@given(ENTRIES, LINES)
def test_keys_that_share_a_hash_are_told_apart(bank: list[Row], ledger: list[Row]) -> None:
    apart = run(bank, ledger)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core, "mixed", lambda names: (pl.col(names[0]).hash() * 0).alias("hash"))
        together = run(bank, ledger)
    assert apart.matches.equals(together.matches)
    assert apart.cases.equals(together.cases)
    assert apart.searches.equals(together.searches)


@given(st.text("-aB1/物费Ａ０㈱⼈ ", max_size=8))
def test_a_text_is_folded_the_same_whichever_way_is_taken(text: str) -> None:
    normal = unicodedata.normalize("NFKC", text).upper()
    letters = "".join(letter for letter in normal if letter.isalnum())
    assert folded(pl.Series([text])).to_list() == [letters or None]


def test_a_pass_that_uses_a_row_twice_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    twice = dict(kernel.EXACT) | {"again": lambda scene: own_id.find(scene_of_all(scene))}
    monkeypatch.setattr(kernel, "EXACT", twice)
    with pytest.raises(ConservationError, match="more than once"):
        run([entry("e", -1, end_to_end_id="P1")], [line("l", -1, payment_id="P1")])


def scene_of_all(scene: Scene) -> Scene:
    return Scene(scene.every, scene.every, scene.rules, scene.as_of)


def test_a_new_rules_version_gives_new_match_ids_for_the_same_members() -> None:
    rows = [entry("e", 100)], [line("l", 100)]
    first, second = run(*rows), run(*rows, rules=Rules(version="next"))
    assert first.matches["match_id"][0] != second.matches["match_id"][0]
    assert first.matches["member_id"].equals(second.matches["member_id"])


def test_ids_are_the_sha_256_of_the_members_named_with_their_lengths() -> None:
    result = run(
        [entry("e", -1, end_to_end_id="P1"), entry("alone", 7)], [line("l", -1, payment_id="P1")]
    )
    match_name = "bank:5:ACC-1:1:e,ledger:5:ACC-1:1:l|own_id|2026.12"
    case_name = "case|bank:5:ACC-1:5:alone"
    assert set(result.matches["match_id"]) == {sha256(match_name.encode()).hexdigest()[:32]}
    assert set(result.cases["case_id"]) == {sha256(case_name.encode()).hexdigest()[:32]}


def test_an_id_given_twice_is_refused_by_its_place_in_the_order_given() -> None:
    rows = [entry("b", 1), entry("a", 1), entry("c", 1), entry("a", 2), entry("b", 3)]
    with pytest.raises(InputError, match="repeats the account_id and entry_id") as caught:
        run(rows, [])
    assert (caught.value.source, caught.value.column, caught.value.row) == ("bank", "entry_id", 4)


def test_ids_that_concatenate_alike_do_not_share_a_case() -> None:
    result = run([entry("b:1", 1, account_id="a"), entry("1", 1, account_id="a:b")], [])
    assert result.cases["case_id"].n_unique() == 2


Truth = dict[tuple[str, str], set[frozenset[str]]]


class City:
    """Accounts of ordinary days with breaks planted, each written down as it is planted."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 -- a seed must give the same city again
        self.bank: list[Row] = []
        self.ledger: list[Row] = []
        self.truth: Truth = {}
        self.number = 0

    def plant(self, kind: str, cause: str, *members: str) -> None:
        self.truth.setdefault((kind, cause), set()).add(frozenset(members))

    def common(self) -> tuple[str, int, int, dict[str, str]]:
        self.number += 1
        account = {"account_id": f"ACC-{self.chance.randrange(8)}"}
        return str(self.number), self.chance.randrange(10_000, 10**7), self.number % 20, account

    def ordinary(self) -> None:
        n, amount, day, account = self.common()
        late = day + self.chance.randrange(3)
        if self.chance.random() < 0.5:
            self.bank.append(entry(f"e{n}", -amount, late, end_to_end_id=f"P{n}", **account))
            self.ledger.append(line(f"l{n}", -amount, day, payment_id=f"P{n}", **account))
        else:
            reference = self.chance.choice([f"R{n}", None])
            self.bank.append(entry(f"e{n}", amount, late, reference=reference, **account))
            self.ledger.append(line(f"l{n}", amount, day, reference=f"r-{n}", **account))

    def batch(self) -> None:
        n, amount, day, account = self.common()
        parts = [amount + k for k in range(5)]
        self.bank.append(entry(f"e{n}", -sum(parts), day + 1, batch_id=f"W{n}", **account))
        for k, part in enumerate(parts):
            self.ledger.append(
                line(f"l{n}-{k}", -part, day, batch_id=f"W{n}", payment_id=f"P{n}-{k}", **account)
            )

    def absent(self) -> None:
        n, amount, day, account = self.common()
        self.ledger.append(line(f"l{n}", -amount, day, payment_id=f"P{n}", **account))
        self.plant("missing_in_bank", "overdue", f"l{n}")

    def undisclosed(self) -> None:
        n, amount, day, account = self.common()
        self.bank.append(entry(f"e{n}", amount, day, text="转账", **account))
        self.plant("missing_in_ledger", "unidentified_receipt", f"e{n}")

    def fee(self) -> None:
        n, _, day, account = self.common()
        self.bank.append(entry(f"e{n}", -self.number, day, text="手续费", **account))
        self.plant("missing_in_ledger", "bank_fee", f"e{n}")

    def other_amount(self) -> None:
        n, amount, day, account = self.common()
        self.bank.append(entry(f"e{n}", -amount, day, end_to_end_id=f"P{n}", **account))
        self.ledger.append(line(f"l{n}", -amount - 9, day, payment_id=f"P{n}", **account))
        self.plant("amount_differs", "amount", f"e{n}", f"l{n}")

    def repeated(self) -> None:
        n, amount, day, account = self.common()
        for copy in "ab":
            self.bank.append(entry(f"e{n}{copy}", -amount, day, end_to_end_id=f"P{n}", **account))
        self.ledger.append(line(f"l{n}", -amount, day, payment_id=f"P{n}", **account))
        self.plant("duplicate_bank", "repeated_entry", f"e{n}b")

    def disclosed_twice(self) -> None:
        n, amount, day, account = self.common()
        self.bank.append(entry(f"e{n}", -amount, day, end_to_end_id=f"P{n}", **account))
        for copy in "ab":
            self.ledger.append(line(f"l{n}{copy}", -amount, day, payment_id=f"P{n}", **account))
        self.plant("duplicate_ledger", "repeated_line", f"l{n}b")

    def came_back(self) -> None:
        n, amount, day, account = self.common()
        self.bank.append(entry(f"e{n}", -amount, day, end_to_end_id=f"P{n}", **account))
        self.bank.append(entry(f"e{n}-back", amount, day + 3, end_to_end_id=f"P{n}", **account))
        self.ledger.append(line(f"l{n}", -amount, day, payment_id=f"P{n}", **account))
        self.plant("returned", "no_correction_line", f"e{n}-back")

    def elsewhere(self) -> None:
        n, amount, day, account = self.common()
        self.bank.append(entry(f"e{n}", -amount, day, end_to_end_id=f"P{n}", account_id="OTHER"))
        self.ledger.append(line(f"l{n}", -amount, day, payment_id=f"P{n}", **account))
        self.plant("wrong_account", "other_account", f"e{n}", f"l{n}")

    def tie(self) -> None:
        n, amount, day, account = self.common()
        for copy in "ab":
            self.bank.append(entry(f"e{n}{copy}", amount, day, **account))
            self.ledger.append(line(f"l{n}{copy}", amount, day, **account))
        self.plant("proposed", "equal_amounts", f"e{n}a", f"e{n}b", f"l{n}a", f"l{n}b")


PLANTS = (
    *(City.ordinary, City.batch, City.absent, City.undisclosed, City.fee, City.other_amount),
    *(City.repeated, City.disclosed_twice, City.came_back, City.elsewhere, City.tie),
)


@pytest.mark.parametrize("seed", range(3))
def test_finds_every_planted_break_with_its_kind_and_nothing_else(seed: int) -> None:
    city = City(seed)
    for plant in city.chance.choices(PLANTS, weights=[40, 6] + [2] * 9, k=1500):
        plant(city)
    result = run(city.bank, city.ledger)
    offered = proposed(result)
    assert offered.keys() <= {"equal_amounts", "amount_window"}
    sets = {("proposed", "equal_amounts"): offered["equal_amounts"]}
    assert cased(result) | sets == city.truth
    numbers = result.matches.group_by("match_id").agg(
        pl.col("member_id").str.extract(r"(\d+)").n_unique().alias("events")
    )
    assert Counter(numbers["events"]).keys() == {1}


def test_a_day_far_in_the_future_ages_every_line() -> None:
    assert cased(run([], [line("l", -1)], as_of=date(2999, 1, 1))).keys() == {
        ("missing_in_bank", "overdue")
    }
