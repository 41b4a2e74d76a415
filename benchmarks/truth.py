"""Bank entries and ledger lines of made-up estates, with what truly belongs to what.

Every figure comes from a seed: the same plan gives the same rows. An estate receives property and
parking fees, which many households pay in the same amount on the same days, and pays wages,
services, electricity and small things. `NOISE` says what goes wrong, how often, and what a
reconciliation should call it. Nothing here is taken from the kernel: no rule, window or word.

Money is made of *pieces*. A unit of one piece is one bank entry and one ledger line; where a bank
books five pieces in one sum, the unit has one entry and five lines.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal

import polars as pl

Pieces = Literal["one", "each", "some"]
"""How a side books the pieces of a unit: as one row, a row each, or in two rows."""

START: Final = date(2026, 3, 2)
LAST_DAY: Final = 30
"""The last day of the books, counted from START: what the bank books later is not in its file."""
_QUIET_DAYS: Final = 21
"""Noise that needs days to come about begins no later than this."""
_TEN_THOUSAND: Final = 10_000
_MILLION: Final = 1_000_000
ACQUIRER_PER_MILLION: Final = 6_000
"""What a card acquirer keeps of a receipt, rounded half up to whole fen."""
CHARGES_MINOR: Final = (500, 1_000, 1_500)
"""What the bank adds to a payment, fen."""
_SCRAMBLE: Final = 2_654_435_761
"""Odd, so a one-to-one map of 32 bits: ids tell nothing of the order in which rows were made."""


@dataclass(frozen=True, slots=True)
class Noise:
    """One way in which bank and ledger come to disagree.

    Attributes:
        name: as in the column `noise` of the truth.
        share: units in 10,000.
        kind: what a reconciliation should call it; None where everything can still be matched.
        way: "in" for receipts, "out" for payments, "any" for both.
        pieces: fewest and most pieces of a unit.
        bank: how the bank books the pieces.
        ledger: how the ledger books them.
    """

    name: str
    share: int
    kind: str | None = None
    way: Literal["in", "out", "any"] = "any"
    pieces: tuple[int, int] = (1, 1)
    bank: Pieces = "one"
    ledger: Pieces = "one"


NOISE: Final = (
    Noise("no_reference", 600),
    Noise("late", 50),
    Noise("fee", 40, "amount_differs"),
    Noise("amount_differs", 30, "amount_differs"),
    Noise("missing_in_bank", 30, "missing_in_bank"),
    Noise("missing_in_ledger", 30, "missing_in_ledger"),
    Noise("bank_fee", 30, "missing_in_ledger", "out"),
    Noise("bank_interest", 5, "missing_in_ledger", "in"),
    Noise("duplicate_bank", 15, "duplicate_bank"),
    Noise("duplicate_ledger", 15, "duplicate_ledger"),
    Noise("one_to_many", 120, pieces=(2, 5), ledger="each"),
    Noise("many_to_one", 40, pieces=(2, 3), bank="each"),
    Noise("lump_declared", 80, pieces=(4, 15), ledger="each"),
    Noise("lump_undeclared", 10, pieces=(7, 15), ledger="each"),
    Noise("batch_in_parts", 15, pieces=(4, 8), bank="some", ledger="each"),
    Noise("returned_corrected", 10, way="out"),
    Noise("returned", 15, "returned", "out"),
    Noise("wrong_account", 8, "wrong_account", "out"),
)
"""All noise; what is left of 10,000 is `plain`: one entry, one line, an id or a reference."""

PLAIN: Final = Noise("plain", _TEN_THOUSAND - sum(noise.share for noise in NOISE))
TIMING: Final = Noise("timing", 0, "timing")
"""Not drawn: a plain payment whose entry the bank books after the last day."""

_ALL: Final = (*NOISE, PLAIN)
_DECLARED: Final = ("lump_declared", "batch_in_parts")
_LUMPS: Final = ("lump_declared", "lump_undeclared", "batch_in_parts")
"""Noise whose pieces are of as many parties."""
_NAMELESS: Final = ("no_reference", "one_to_many", "many_to_one", "lump_undeclared", *_DECLARED)
"""Noise whose bank entries have neither our id nor a reference of ours."""

TRUTH: Final = {
    "side": pl.String(),
    "account_id": pl.String(),
    "member_id": pl.String(),
    "group": pl.UInt32(),
    "noise": pl.String(),
    "kind": pl.String(),
    "copy": pl.Boolean(),
}
"""One row a bank entry or ledger line. Rows of one `group` belong together; `kind` is what its case
should be called, null where it should be matched; `copy` marks the repeat of another row of its
group and side, which cannot be told from the original."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to make.

    Attributes:
        seed: names the random numbers.
        accounts: how many accounts.
        lines: ledger lines an account, on average.
        round_permille: amounts of 1,000 that are replaced by 100, 200 … or 5,000 yuan.
        first_account: number of the first account; plans of other numbers share no account.
    """

    seed: str
    accounts: int
    lines: int
    round_permille: int = 0
    first_account: int = 0


@dataclass(frozen=True, slots=True)
class Books:
    """Both sides in the kernel's columns, the truth (columns `TRUTH`), and the day of the run."""

    bank: pl.DataFrame
    ledger: pl.DataFrame
    truth: pl.DataFrame
    as_of: date


class Dice:
    """Random numbers as columns, the same for the same seed on every version of everything."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)  # noqa: S311 - reproducible is what it has to be

    def column(self, rows: int) -> pl.Series:
        """Equally likely 32-bit numbers."""
        if rows == 0:
            return pl.Series(dtype=pl.UInt32)
        drawn = pl.Series([self._random.randbytes(4 * rows)], dtype=pl.Binary)
        return drawn.bin.reinterpret(dtype=pl.Array(pl.UInt32, rows), endianness="little").explode()

    def columns(self, frame: pl.DataFrame, *names: str) -> pl.DataFrame:
        """The frame with columns of such numbers."""
        return frame.with_columns(self.column(frame.height).alias(name) for name in names)


def generate(plan: Plan) -> Books:
    """The books of a plan."""
    dice = Dice(plan.seed)
    pieces = _pieces(_units(plan, dice), plan, dice)
    bank = pl.concat([_bank(pieces), _returns(pieces), _copies(_bank(pieces), "duplicate_bank")])
    ledger = pl.concat(
        [_ledger(pieces), _corrections(pieces), _copies(_ledger(pieces), "duplicate_ledger")]
    )
    bank, ledger = _numbered(bank, "B"), _numbered(ledger, "L")
    return Books(_as_bank(bank), _as_ledger(ledger), _truth(bank, ledger), _day(LAST_DAY))


def _day(number: int) -> date:
    return date.fromordinal(START.toordinal() + number)


def _units(plan: Plan, dice: Dice) -> pl.DataFrame:
    """What happened, one row an event, with its noise."""
    lines = sum(noise.share * _lines(noise) for noise in _ALL) / _TEN_THOUSAND
    each = max(1, round(plan.lines / lines))
    units = pl.DataFrame({"unit": pl.int_range(plan.accounts * each, dtype=pl.UInt32, eager=True)})
    drawn = dice.columns(units, "d_noise", "d_way", "d_count", "d_day", "d_lag", "d_id", "d_who")
    named = drawn.with_columns(
        account=plan.first_account + pl.col("unit") // each,
        seq=pl.col("unit") % each,
        noise=_drawn_noise(pl.col("d_noise") % _TEN_THOUSAND),
    )
    return _dated(named.with_columns(credit=_is_credit())).with_columns(
        count=_by_noise({n.name: _between(n.pieces, pl.col("d_count")) for n in _ALL}),
        other=_neighbour(plan),
    )


def _lines(noise: Noise) -> float:
    """Ledger lines that a unit of this noise has on average."""
    if noise.name in {"missing_in_ledger", "bank_fee", "bank_interest"}:
        return 0
    twice = noise.name in {"duplicate_ledger", "returned_corrected"}
    return sum(noise.pieces) / 2 if noise.ledger == "each" else 1 + twice


def _drawn_noise(number: pl.Expr) -> pl.Expr:
    """The noise of a number below 10,000."""
    tops = itertools.accumulate(noise.share for noise in _ALL)
    return pl.coalesce(
        pl.when(number < top).then(pl.lit(noise.name))
        for noise, top in zip(_ALL, tops, strict=True)
    )


def _by_noise(values: dict[str, pl.Expr]) -> pl.Expr:
    return pl.coalesce(
        pl.when(pl.col("noise") == name).then(value) for name, value in values.items()
    )


def _between(bounds: tuple[int, int], drawn: pl.Expr) -> pl.Expr:
    low, high = bounds
    return low + drawn % (high - low + 1)


def _is_credit() -> pl.Expr:
    ways = {noise.name: noise.way for noise in _ALL}
    way = pl.col("noise").replace_strict(ways)
    return (way == "in") | ((way == "any") & _chance("d_way", 6, of=10))


def _chance(drawn: str, share: int, of: int) -> pl.Expr:
    """True for so many rows of so many, by a column of random numbers."""
    return pl.col(drawn) % of < share


def _dated(units: pl.DataFrame) -> pl.DataFrame:
    """`posted` and `booked`, days from START: the ledger's date and the bank's.

    Payments wait over weekends; receipts are booked on any day and posted a little later.
    """
    to_the_end = pl.col("noise").is_in([PLAIN.name, "no_reference"])
    days = pl.when(to_the_end).then(LAST_DAY + 1).otherwise(_QUIET_DAYS)
    posted = (pl.col("d_day") % days).cast(pl.Int32)
    lag = _percentiles(pl.col("d_lag") % 100, (60, 85, 95))
    late = pl.when(pl.col("noise") == "late").then(6 + pl.col("d_lag") % 3).otherwise(0)
    lag = (lag + late).cast(pl.Int32)
    dated = units.with_columns(posted=posted, lag=lag)
    booked = pl.when("credit").then(pl.col("posted") - pl.col("lag"))
    on_time = booked.otherwise(_working(pl.col("posted") + pl.col("lag")))
    return dated.with_columns(booked=on_time).with_columns(noise=_in_transit(to_the_end))


def _percentiles(number: pl.Expr, bounds: tuple[int, ...]) -> pl.Expr:
    """How many of the bounds a number has passed."""
    return pl.sum_horizontal((number >= bound).cast(pl.Int32) for bound in bounds)


def _working(day: pl.Expr) -> pl.Expr:
    """The day, or the Monday after it; START is a Monday."""
    weekday = day % 7
    return pl.when(weekday >= 5).then(day + 7 - weekday).otherwise(day)  # noqa: PLR2004 - Saturday


def _in_transit(to_the_end: pl.Expr) -> pl.Expr:
    unbooked = to_the_end & (pl.col("booked") > LAST_DAY)
    return pl.when(unbooked).then(pl.lit(TIMING.name)).otherwise("noise").alias("noise")


def _neighbour(plan: Plan) -> pl.Expr:
    """Another account of the plan."""
    own = pl.col("account") - plan.first_account
    return plan.first_account + (own + 1 + pl.col("d_who") % max(1, plan.accounts - 1)) % (
        plan.accounts
    )


def _pieces(units: pl.DataFrame, plan: Plan, dice: Dice) -> pl.DataFrame:
    """The units' money, one row a piece, amounts signed, with who pays or is paid."""
    counted = units.with_columns(pl.col("count").fill_null(1))
    pieces = counted.with_columns(piece=pl.int_ranges(0, "count", dtype=pl.UInt32)).explode("piece")
    drawn = dice.columns(pieces, "r_what", "r_size", "r_months", "r_round", "r_text")
    # A sum may be many people's: a day's receipts through an acquirer, a payroll.
    each = pl.when(_sum_of_many()).then(pl.col("piece") * 7).otherwise(0)
    household = drawn.with_columns(home=(pl.col("d_who") % 300 + each) % 300)
    sized = household.with_columns(amount=_amount(plan).cast(pl.Int64))
    signed = sized.with_columns(pl.when("credit").then("amount").otherwise(-pl.col("amount")))
    return signed.with_columns(_bank_amount().alias("bank_amount"), *_rows())


def _sum_of_many() -> pl.Expr:
    """Whether the pieces are of as many parties, so that the bank names none of them."""
    payroll = ~pl.col("credit") & (pl.col("noise") == "one_to_many")
    return pl.col("noise").is_in(_LUMPS) | payroll


def _rows() -> tuple[pl.Expr, pl.Expr]:
    """Which of the unit's bank entries and ledger lines a piece is part of."""
    places = {"one": pl.lit(0), "each": pl.col("piece"), "some": pl.col("piece") % 2}
    bank = _by_noise({n.name: places[n.bank].cast(pl.UInt32) for n in _ALL})
    ledger = _by_noise({n.name: places[n.ledger].cast(pl.UInt32) for n in _ALL})
    return bank.fill_null(0).alias("entry"), ledger.fill_null(0).alias("line")


def _amount(plan: Plan) -> pl.Expr:
    """Fen, positive."""
    size = pl.col("r_size")
    receipt = (
        pl.when(_chance("r_what", 55, of=100)).then(_monthly_fee() * _months())
        .when(_chance("r_what", 75, of=100)).then(15_000 + 5_000 * (size % 3))
        .when(_chance("r_what", 95, of=100)).then(500 + size % 200_000)
        .otherwise(100_000 * (1 + size % 50))
    )  # fmt: skip
    payment = (
        pl.when(_chance("r_what", 30, of=100)).then(280_000 + 5_000 * (size % 80))
        .when(_chance("r_what", 45, of=100)).then(800_000 + 10_000 * (size % 500))
        .when(_chance("r_what", 75, of=100)).then(20_000 + size % 3_000_000)
        .otherwise(1_000 + 10 * (size % 20_000))
    )  # fmt: skip
    charge = 500 + 100 * (size % 45)
    common = pl.when("credit").then(receipt).otherwise(payment)
    rounded = _chance("r_round", plan.round_permille, of=1_000)
    return (
        pl.when(pl.col("noise") == "bank_fee").then(charge)
        .when(pl.col("noise") == "bank_interest").then(1 + size % 90_000)
        .when(rounded).then(10_000 * (1 + pl.col("r_months") % 50))
        .otherwise(common)
    )  # fmt: skip


def _monthly_fee() -> pl.Expr:
    """Four sizes of flat an estate, so a quarter of its households pay the same."""
    flat = pl.col("home") % 4
    mixed = (pl.col("account").cast(pl.UInt64) * 4 + flat) * _SCRAMBLE % 2**32
    return 9_000 + 10 * (mixed // 1_024 % 3_500).cast(pl.UInt32)


def _months() -> pl.Expr:
    monthly, quarterly = _chance("r_months", 7, of=10), _chance("r_months", 9, of=10)
    return pl.when(monthly).then(1).when(quarterly).then(3).otherwise(12)


def _bank_amount() -> pl.Expr:
    """What the bank booked: less a fee, with a fee on top, or a figure typed wrongly."""
    amount, drawn = pl.col("amount"), pl.col("d_count").cast(pl.Int64)
    rate = (amount * ACQUIRER_PER_MILLION + _MILLION // 2) // _MILLION
    charged = pl.when("credit").then(amount - rate)
    fee = charged.otherwise(amount - CHARGES_MINOR[0] * (1 + drawn % len(CHARGES_MINOR)))
    typed = amount + amount.sign() * 900 * (1 + drawn % 11)
    return (
        pl.when(pl.col("noise") == "fee").then(fee)
        .when(pl.col("noise") == "amount_differs").then(typed)
        .otherwise(amount)
    )  # fmt: skip


_KEPT: Final = (
    *("unit", "account", "other", "seq", "noise", "credit", "posted", "booked", "home"),
    *("d_id", "d_who", "r_text"),
)


def _bank(pieces: pl.DataFrame) -> pl.DataFrame:
    """The bank's entries in our own columns."""
    there = ~pl.col("noise").is_in(["missing_in_bank", TIMING.name])
    rows = pieces.filter(there).group_by("unit", "entry", maintain_order=True)
    booked = rows.agg(pl.col("bank_amount").sum().alias("amount"), pl.col(_KEPT[1:]).first())
    moved = pl.when(pl.col("noise") == "wrong_account").then("other").otherwise("account")
    later = pl.when("credit").then(0).otherwise(pl.col("entry") % 2).cast(pl.Int32)
    return booked.select(
        "unit",
        "noise",
        "credit",
        "r_text",
        account=moved,
        row="entry",
        amount="amount",
        day=pl.min_horizontal(pl.col("booked") + later, LAST_DAY),
        own=pl.when(_named() & ~pl.col("credit")).then(_payment_id()).otherwise(_payer_id()),
        ref=pl.when(_named()).then(_bank_reference()).otherwise(_no_reference()),
        batch=_batch_id(),
        name=_bank_name(),
        number=pl.when(_chance("d_who", 8, of=10) & ~_sum_of_many()).then(_party_account()),
        copy=pl.lit(value=False),
        reversal=pl.lit(value=False),
        returned=pl.lit(value=False),
        text=_text("bank"),
    )


def _ledger(pieces: pl.DataFrame) -> pl.DataFrame:
    """The ledger's lines in our own columns."""
    absent = ("missing_in_ledger", "bank_fee", "bank_interest")
    rows = pieces.filter(~pl.col("noise").is_in(absent))
    lines = rows.group_by("unit", "line", maintain_order=True)
    posted = lines.agg(pl.col("amount").sum(), pl.col(_KEPT[1:]).first())
    known_number = ~pl.col("credit") | _chance("d_who", 2, of=10)
    return posted.select(
        "unit",
        "noise",
        "credit",
        "r_text",
        "account",
        row="line",
        amount="amount",
        day="posted",
        own=pl.when(~pl.col("credit")).then(_payment_id("line")),
        ref=_reference("line"),
        batch=_batch_id(),
        name=pl.when(_chance("d_id", 9, of=10)).then(_party_name()),
        number=pl.when(known_number).then(_party_account()),
        copy=pl.lit(value=False),
        reversal=pl.lit(value=False),
        returned=pl.lit(value=False),
        text=_text("ledger"),
    )


def _named() -> pl.Expr:
    """Whether the bank's entry carries our id, or a reference of ours."""
    unknown = ("missing_in_ledger", "bank_fee", "bank_interest")
    return ~pl.col("noise").is_in((*_NAMELESS, *unknown))


def _code(row: str | None = None) -> pl.Expr:
    """A number of the unit, or of one of its rows, that no other has."""
    part = pl.lit("00") if row is None else pl.col(row).cast(pl.String).str.zfill(2)
    account = pl.col("account").cast(pl.String).str.zfill(7)
    return pl.concat_str(account, pl.col("seq").cast(pl.String).str.zfill(5), part)


def _payment_id(row: str | None = None) -> pl.Expr:
    return pl.concat_str(pl.lit("PAY"), _code(row))


def _reference(row: str | None = None) -> pl.Expr:
    head = pl.when("credit").then(pl.lit("JF-202603-")).otherwise(pl.lit("FK-202603-"))
    return pl.concat_str(head, _code(row))


def _bank_reference() -> pl.Expr:
    """The reference as banks pass it on: whole, without its hyphens, or in wide letters.

    Two payments in five have none: their id is enough.
    """
    plain = _reference()
    way = pl.col("d_id") % 20
    wide = plain.str.replace("JF", "ＪＦ").str.replace("FK", "ＦＫ")
    bare = plain.str.replace_all("-", "", literal=True)
    written = pl.when(way == 0).then(wide).when(way == 1).then(bare).otherwise(plain)
    return pl.when(pl.col("credit") | _chance("d_who", 3, of=5)).then(written)


def _no_reference() -> pl.Expr:
    """What stands there where nothing does."""
    way = pl.col("d_id") % 5
    said = pl.when(way == 0).then(pl.lit("NOTPROVIDED")).when(way == 1).then(pl.lit("物业费"))
    return pl.when("credit").then(said).when(way == 0).then(pl.lit("NONREF"))


def _payer_id() -> pl.Expr:
    """A payer's own id, of no use to us; one in fifty always writes the same."""
    theirs = pl.concat_str(pl.lit("E"), pl.col("d_id").cast(pl.String))
    same = pl.when(pl.col("d_id") % 50 == 0).then(pl.lit("1")).otherwise(theirs)
    return pl.when(pl.col("credit") & (pl.col("d_who") % 2 == 0)).then(same)


def _batch_id() -> pl.Expr:
    return pl.when(pl.col("noise").is_in(_DECLARED)).then(pl.concat_str(pl.lit("BAT"), _code()))


_FAMILY: Final = "王李张刘陈杨黄赵周吴徐孙马朱胡郭何林高罗"
_GIVEN: Final = tuple("伟芳红敏静丽强磊军洋勇艳杰娟涛")
_FIRMS: Final = (
    "保洁服务有限公司",
    "电梯维保有限公司",
    "园林绿化有限公司",
    "保安服务有限公司",
    "供电公司",
    "自来水有限责任公司",
    "五金建材经营部",
    "消防工程有限公司",
)


def _party_name() -> pl.Expr:
    """A household's payer or one of the estate's suppliers."""
    home = pl.col("home")
    family = _word(home % len(_FAMILY), tuple(_FAMILY))
    person = pl.concat_str(family, _word(home // len(_FAMILY) % len(_GIVEN), _GIVEN))
    town = pl.concat_str(pl.lit("第"), (pl.col("account") % 97).cast(pl.String))
    firm = pl.concat_str(town, _word(home % len(_FIRMS), _FIRMS))
    return pl.when("credit").then(person).otherwise(firm)


def _bank_name() -> pl.Expr:
    """As the bank has it: cut to ten characters, a relative's, or not given."""
    way = pl.col("d_who") // 16 % 20
    relative = pl.concat_str(_party_name().str.slice(0, 1), pl.lit("建国"))
    firm = _party_name().str.slice(0, 10)
    given = pl.when(way == 1).then(pl.when("credit").then(relative).otherwise(firm))
    out = ~pl.col("credit")
    nobody = pl.col("noise").is_in(["bank_fee", "bank_interest"]) | (_sum_of_many() & out)
    return (
        pl.when(nobody | (way == 0)).then(None)
        .when(_sum_of_many()).then(pl.lit("银联商务股份有限公司"))
        .otherwise(given.otherwise(_party_name()))
    )  # fmt: skip


def _party_account() -> pl.Expr:
    party = pl.when("credit").then(pl.col("home")).otherwise(300 + pl.col("home") % len(_FIRMS))
    digits = (pl.col("account").cast(pl.UInt64) * 1_000 + party).cast(pl.String).str.zfill(13)
    return pl.concat_str(pl.lit("622200"), digits)


def _word(number: pl.Expr, words: tuple[str, ...]) -> pl.Expr:
    return number.replace_strict(dict(enumerate(words)), return_dtype=pl.String)


_WORDS: Final = {
    "bank": (("物业费", "停车费", "物业费3月", "转账"), ("付款", "工资", "货款")),
    "ledger": (("物业服务费", "车位费"), ("服务费用", "人员工资", "采购")),
}
"""What receipts and payments are said to be for."""


def _text(side: Literal["bank", "ledger"]) -> pl.Expr:
    receipts, payments = _WORDS[side]
    in_, out = (_word(pl.col("r_text") % len(words), words) for words in (receipts, payments))
    return (
        pl.when(pl.col("noise") == "bank_fee").then(pl.lit("转账手续费"))
        .when(pl.col("noise") == "bank_interest").then(pl.lit("结息"))
        .when("credit").then(in_).otherwise(out)
    )  # fmt: skip


def _copies(rows: pl.DataFrame, noise: str) -> pl.DataFrame:
    """The rows that are there twice."""
    return rows.filter(pl.col("noise") == noise).with_columns(copy=pl.lit(value=True))


def _returns(pieces: pl.DataFrame) -> pl.DataFrame:
    """Payments that came back: by our id, by our id in the reference, or in words alone."""
    sent = _bank(pieces.filter(pl.col("noise").is_in(["returned", "returned_corrected"])))
    way, flagged = pl.col("r_text") % 3, pl.col("r_text") // 3 % 2 == 0
    return sent.with_columns(
        amount=-pl.col("amount"),
        day=_working(pl.col("day") + 1 + (pl.col("r_text") % 3).cast(pl.Int32)),
        own=pl.when(way == 0).then("own"),
        ref=pl.when(way == 1).then("own"),
        reversal=flagged,
        returned=pl.lit(value=True),
        text=pl.lit("退票 户名不符"),
    )


def _corrections(pieces: pl.DataFrame) -> pl.DataFrame:
    """The ledger's lines for payments that came back."""
    sent = _ledger(pieces.filter(pl.col("noise") == "returned_corrected"))
    booked = _returns(pieces.filter(pl.col("noise") == "returned_corrected"))
    back = sent.drop("day").join(booked.select("unit", "day"), on="unit", maintain_order="left")
    return back.select(sent.columns).with_columns(
        amount=-pl.col("amount"),
        ref=pl.lit(None, dtype=pl.String),
        returned=pl.lit(value=True),
        text=pl.lit("退票更正"),
    )


def _numbered(rows: pl.DataFrame, letter: str) -> pl.DataFrame:
    mixed = pl.int_range(pl.len(), dtype=pl.UInt64) * _SCRAMBLE % 2**32
    named = pl.concat_str(pl.lit(letter), mixed.cast(pl.String).str.zfill(10))
    account = pl.concat_str(pl.lit("4402"), pl.col("account").cast(pl.String).str.zfill(15))
    return rows.with_columns(
        member_id=named,
        account_id=account,
        date=pl.lit(START) + pl.duration(days="day"),
    ).sort("member_id")


def _as_bank(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(
        "account_id",
        entry_id="member_id",
        booking_date="date",
        value_date="date",
        amount_minor="amount",
        currency=pl.lit("CNY"),
        reference="ref",
        end_to_end_id="own",
        batch_id="batch",
        counterparty_name="name",
        counterparty_account="number",
        text="text",
        reversal="reversal",
    )


def _as_ledger(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(
        "account_id",
        line_id="member_id",
        effective_date="date",
        amount_minor="amount",
        currency=pl.lit("CNY"),
        payment_id="own",
        batch_id="batch",
        reference="ref",
        counterparty_name="name",
        counterparty_account="number",
        text="text",
    )


def _truth(bank: pl.DataFrame, ledger: pl.DataFrame) -> pl.DataFrame:
    kinds = {noise.name: noise.kind for noise in (*_ALL, TIMING)}
    kind = pl.col("noise").replace_strict(kinds, return_dtype=pl.String)
    # A payment that came back was still paid: the pair is to be matched, the return is the case.
    paid = (pl.col("noise") == "returned") & ~pl.col("returned")
    return pl.concat(
        rows.select(
            pl.lit(side).alias("side"),
            "account_id",
            "member_id",
            (pl.col("unit") * 2 + pl.col("returned")).cast(pl.UInt32).alias("group"),
            "noise",
            pl.when(~paid).then(kind).alias("kind"),
            "copy",
        )
        for side, rows in (("bank", bank), ("ledger", ledger))
    )
