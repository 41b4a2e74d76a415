"""The made-up books are what they say they are, and the scores see what is false."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from benchmarks.scoring import score
from benchmarks.truth import NOISE, TRUTH, Books, Dice, Plan, generate
from reconciliation.frames import normalise
from reconciliation.matching.kernel import Result, match
from reconciliation.rules import Rules

PLAN = Plan("tests", accounts=120, lines=50)
BOOKS = generate(PLAN)
NAMED = {
    "bank": BOOKS.bank.rename({"entry_id": "member_id", "booking_date": "date"}),
    "ledger": BOOKS.ledger.rename({"line_id": "member_id", "effective_date": "date"}),
}
TOLD = pl.concat(
    BOOKS.truth.join(
        rows.select("account_id", "member_id", "amount_minor", "date", "reference", "batch_id"),
        on=["account_id", "member_id"],
    )
    for rows in NAMED.values()
)


def of(noise: str, side: str) -> pl.DataFrame:
    return TOLD.filter(pl.col("noise") == noise, pl.col("side") == side)


def sums(noise: str, side: str) -> dict[int, int]:
    originals = of(noise, side).filter(~pl.col("copy"))
    return dict(originals.group_by("group").agg(pl.col("amount_minor").sum()).iter_rows())


def test_the_same_plan_gives_the_same_books() -> None:
    again = generate(PLAN)
    assert again.bank.equals(BOOKS.bank)
    assert again.ledger.equals(BOOKS.ledger)
    assert again.truth.equals(BOOKS.truth)


def test_another_seed_gives_other_books() -> None:
    assert not generate(Plan("other", 120, 50)).bank.equals(BOOKS.bank)


def test_random_numbers_are_those_of_the_seed_for_ever() -> None:
    # Python's own Mersenne Twister, seeded with the text "seed", read as little-endian words
    assert Dice("seed").column(3).to_list() == [593719038, 252944290, 1016658430]


def test_the_books_fit_the_kernels_frames() -> None:
    assert normalise(BOOKS.bank, "bank").height == BOOKS.bank.height
    assert normalise(BOOKS.ledger, "ledger").height == BOOKS.ledger.height


def test_every_row_has_its_truth_once() -> None:
    assert BOOKS.truth.schema == pl.Schema(TRUTH)
    assert BOOKS.truth.height == BOOKS.bank.height + BOOKS.ledger.height == TOLD.height
    assert not BOOKS.truth.select("side", "account_id", "member_id").is_duplicated().any()


def test_an_account_has_about_as_many_lines_as_planned() -> None:
    assert BOOKS.ledger.height / PLAN.accounts == pytest.approx(PLAN.lines, rel=0.05)


def test_noise_comes_in_its_share() -> None:
    groups = generate(Plan("shares", 2_000, 50)).truth.unique("group")
    count = groups.filter(pl.col("noise") == "no_reference").height
    (share,) = [noise.share for noise in NOISE if noise.name == "no_reference"]
    assert count / groups.height == pytest.approx(share / 10_000, rel=0.05)


@pytest.mark.parametrize(
    "noise",
    [
        *("plain", "no_reference", "late", "one_to_many", "many_to_one", "lump_declared"),
        *("lump_undeclared", "batch_in_parts", "returned_corrected", "duplicate_bank"),
        *("duplicate_ledger", "wrong_account"),
    ],
)
def test_what_belongs_together_adds_up(noise: str) -> None:
    assert sums(noise, "bank")
    assert sums(noise, "bank") == sums(noise, "ledger")


@pytest.mark.parametrize("noise", ["fee", "amount_differs"])
def test_amounts_that_should_differ_differ(noise: str) -> None:
    bank, ledger = sums(noise, "bank"), sums(noise, "ledger")
    assert bank.keys() == ledger.keys()
    assert all(bank[group] != ledger[group] for group in bank)


@pytest.mark.parametrize(
    ("noise", "side"),
    [
        ("missing_in_bank", "bank"),
        ("timing", "bank"),
        ("missing_in_ledger", "ledger"),
        ("bank_fee", "ledger"),
        ("bank_interest", "ledger"),
    ],
)
def test_what_is_missing_is_missing(noise: str, side: str) -> None:
    other = "ledger" if side == "bank" else "bank"
    assert of(noise, side).is_empty()
    assert not of(noise, other).is_empty()


def test_a_repeat_differs_from_its_original_in_nothing_but_its_name() -> None:
    rows = NAMED["bank"].join(
        of("duplicate_bank", "bank").select("member_id", "group"), on="member_id"
    )
    alike = rows.drop("member_id").unique()
    assert alike.height * 2 == rows.height


def test_nothing_happens_after_the_last_day() -> None:
    assert TOLD["date"].max() == BOOKS.as_of


def test_a_payment_in_transit_is_not_old() -> None:
    ages = of("timing", "ledger").select((pl.lit(BOOKS.as_of) - pl.col("date")).dt.total_days())
    assert ages.to_series().is_between(0, 5).all()


def test_undeclared_sums_have_no_batch_id_on_either_side() -> None:
    undeclared = TOLD.filter(pl.col("noise").is_in(["one_to_many", "lump_undeclared"]))
    assert undeclared["batch_id"].null_count() == undeclared.height


def test_round_amounts_come_in_their_share() -> None:
    books = generate(Plan("round", 20, 500, round_permille=250))
    amounts = books.bank["amount_minor"].abs()
    rounded = ((amounts % 10_000 == 0) & (amounts <= 500_000)).mean()
    assert 0.2 < float(str(rounded)) < 0.4


def the_truth(books: Books) -> Result:
    """What somebody who knew the truth would have answered, as far as pairs go."""
    sized = books.truth.with_columns(
        paired=(pl.len().over("group") == 2) & pl.col("kind").is_null().all().over("group")
    )
    columns = ["side", "account_id", "member_id"]
    matches = sized.filter("paired").select(
        *columns,
        match_id=pl.col("group").cast(pl.String),
        status=pl.lit("automatic"),
        rule=pl.lit("oracle"),
    )
    cases = sized.filter(~pl.col("paired")).select(
        *columns,
        case_id=pl.col("group").cast(pl.String),
        kind=pl.col("kind").fill_null("missing_in_ledger"),
    )
    return Result(matches, cases)


def test_the_truth_itself_has_no_false_match() -> None:
    scores = score(BOOKS, the_truth(BOOKS))
    assert scores["automatic"] > 4_000
    assert scores["automatic_false"] == 0
    assert scores["false_examples"] == []


def test_two_partners_exchanged_are_two_false_matches() -> None:
    right = the_truth(BOOKS)
    first, second = right.matches.filter(pl.col("side") == "bank")["match_id"][:2]
    swap = {first: second, second: first}
    wrong = right.matches.with_columns(
        match_id=pl.when(pl.col("side") == "bank")
        .then(pl.col("match_id").replace(swap))
        .otherwise("match_id")
    )
    scores = score(BOOKS, Result(wrong, right.cases))
    assert scores["automatic_false"] == 2
    assert {row["match_id"] for row in scores["false_examples"]} == {first, second}


def test_a_match_of_half_a_sum_is_false() -> None:
    right = the_truth(BOOKS)
    (group,) = of("lump_declared", "bank")["group"][:1]
    some = TOLD.filter(pl.col("group") == group).sort("side").head(3)
    half = some.select(
        "side",
        "account_id",
        "member_id",
        match_id=pl.lit("half"),
        status=pl.lit("automatic"),
        rule=pl.lit("oracle"),
    )
    cases = right.cases.join(half, on=["side", "account_id", "member_id"], how="anti")
    scores = score(BOOKS, Result(pl.concat([right.matches, half]), cases))
    assert scores["automatic_false"] == 1


def test_a_break_under_another_name_is_not_right() -> None:
    right = the_truth(BOOKS)
    renamed = right.cases.with_columns(pl.col("kind").replace({"returned": "wrong_account"}))
    before, after = score(BOOKS, right), score(BOOKS, Result(right.matches, renamed))
    returned = BOOKS.truth.filter(pl.col("kind") == "returned").height
    assert returned > 0
    lost = before["breaks_right_share"] - after["breaks_right_share"]
    assert lost == pytest.approx(returned / before["breaks_planted"], abs=1e-4)


def test_a_repeat_may_stand_for_its_original() -> None:
    result = match(BOOKS.bank, BOOKS.ledger, Rules(), BOOKS.as_of)
    twins = of("duplicate_bank", "bank").select("member_id", "account_id")
    matched = twins.join(result.matches, on=["account_id", "member_id"], how="semi")
    assert matched.height * 2 == twins.height
    assert rows_of(score(BOOKS, result)["breaks"], "duplicate_bank") == {"duplicate_bank"}


def rows_of(confusion: list[dict[str, Any]], noise: str) -> set[str]:
    return {row["found"] for row in confusion if row["noise"] == noise and row["right"]}
