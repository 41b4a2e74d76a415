"""What the passes share: the open rows of both sides, and how to find pairs among them.

Both sides are brought to the same columns, so that a rule about one is the same rule about the
other: `row` (position in the order of account and id, the row's name inside the kernel), `account`
(account and currency as one number), `amount`, `date`, `own` (our own id: end-to-end id or payment
id), `ref` (normalised reference), `batch`, and `returned` (the bank says so).

Texts are dear and numbers are cheap. So most rows, which an id or a reference closes, are told
apart by hashes of their keys, and texts are compared only where two hashes agree: a hash alone
never makes a pair, and never loses one.
"""

from __future__ import annotations

import functools
import operator
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal

import polars as pl
from polars_hash import CryptographicHashingNameSpace

from reconciliation.frames import SHAPES, refuse_repeats

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from reconciliation.frames import Side
    from reconciliation.rules import Rules

Members = frozenset[tuple[str, int]]
"""A set of rows, each by its side and number."""

EQUAL: Final = ("account", "amount")
"""What nobody needs to have said: the same amount of one account and currency."""
PURSE: Final = ("account_id", "currency")
"""What may be matched with each other: one account, one currency."""


@dataclass(frozen=True, slots=True)
class Found:
    """Groups of rows that belong together.

    Attributes:
        bank: columns `group`, `row`: the bank entries of each group.
        ledger: the same for ledger lines. A group's number is the same on both sides.
    """

    bank: pl.DataFrame
    ledger: pl.DataFrame

    def keep(self, groups: pl.DataFrame) -> Found:
        """Only the groups named (column `group`)."""
        return self._filtered(groups, "semi")

    def drop(self, groups: pl.DataFrame) -> Found:
        """All but the groups named (column `group`)."""
        return self._filtered(groups, "anti")

    def _filtered(self, groups: pl.DataFrame, how: Literal["semi", "anti"]) -> Found:
        return Found(
            self.bank.join(groups, on="group", how=how, maintain_order="left"),
            self.ledger.join(groups, on="group", how=how, maintain_order="left"),
        )


@dataclass(frozen=True, slots=True)
class Sides:
    """The rows of both sides that are still open (or all of them, before the first pass)."""

    bank: pl.DataFrame
    ledger: pl.DataFrame

    def without(self, found: Found) -> Sides:
        """What stays open when the rows found are taken out."""
        return Sides(_less(self.bank, found.bank), _less(self.ledger, found.ledger))

    def narrowed(self, columns: Sequence[str]) -> Sides:
        """The same rows with some of their columns."""
        return Sides(self.bank.select(columns), self.ledger.select(columns))

    def only(self, rows: Sides) -> Sides:
        """Of these rows those that are among the others, too."""
        return Sides(
            self.bank.filter(pl.col("row").is_in(rows.bank["row"].implode())),
            self.ledger.filter(pl.col("row").is_in(rows.ledger["row"].implode())),
        )


def _less(rows: pl.DataFrame, taken: pl.DataFrame) -> pl.DataFrame:
    if taken.is_empty():
        return rows
    return rows.filter(~pl.col("row").is_in(taken["row"].implode()))


@dataclass(frozen=True, slots=True)
class Scene:
    """All that a pass or a classifier may look at.

    Attributes:
        open: rows not yet in a match or a case.
        every: all rows of the input, for questions such as "is this a repeat of a matched one?".
        rules: the run's rules.
        as_of: the day that ages are counted to.
        rejected: groups that an operator has said do not belong together.
        noted: what has been found out and is asked for again, of `every` or of all scenes that have
            no more open rows than this one; see `alike` and `amount_window.candidates`.
    """

    open: Sides
    every: Sides
    rules: Rules
    as_of: date
    rejected: frozenset[Members] = frozenset()
    noted: dict[tuple[str, tuple[str, ...]], pl.DataFrame] = field(default_factory=dict)

    def alike(self, side: Side, key: tuple[str, ...]) -> pl.DataFrame:
        """All rows of a side, closed ones too, whose key another row of it has, by `family`.

        Every key has account and amount and something else. Columns are the key, `row`, `date` and
        the number of the `family`.
        """
        if (side, key) not in self.noted:
            # by hash first: few rows are left to compare
            near = self._near(side).select(*dict.fromkeys((*key, "row", "date")))
            families = near.filter(mixed(key).is_duplicated()).with_columns(
                family=pl.col("row").first().over(key), members=pl.len().over(key)
            )
            self.noted[side, key] = families.filter(pl.col("members") > 1).drop("members")
        return self.noted[side, key]

    def _near(self, side: Side) -> pl.DataFrame:
        """At least the rows of a side whose amount another row of the account has."""
        if (side, EQUAL) not in self.noted:
            every = self.every.bank if side == "bank" else self.every.ledger
            self.noted[side, EQUAL] = every.filter(mixed(EQUAL).is_duplicated())
        return self.noted[side, EQUAL]

    def without(self, found: Found) -> Scene:
        """The same scene with the rows found taken out of the open ones."""
        return replace(self, open=self.open.without(found))

    def focused(self) -> Scene:
        """The same scene without the closed rows that no open row can be compared with.

        Whatever is asked about closed rows is asked by account, and by amount, id or reference.
        """
        opened = pl.concat(side.select(_COMPARED_BY) for side in (self.open.bank, self.open.ledger))
        every = Sides(_touched(self.every.bank, opened), _touched(self.every.ledger, opened))
        return replace(self, every=every, noted={})

    def rejected_pairs(self) -> pl.DataFrame:
        """The rejected groups of one entry and one line, columns `bank` and `ledger`."""
        pairs = [dict(group) for group in self.rejected if len(group) == len(_PAIR)]
        rows = sorted((pair["bank"], pair["ledger"]) for pair in pairs if pair.keys() == _PAIR)
        schema = {"bank": pl.UInt32(), "ledger": pl.UInt32()}
        return pl.DataFrame(rows, schema=schema, orient="row")

    def unless_rejected(self, found: Found) -> Found:
        """The groups found, without those that an operator has rejected, member for member."""
        if not self.rejected:
            return found
        rows = {
            side: sorted({r for g in self.rejected for s, r in g if s == side}) for side in _PAIR
        }
        touched = pl.concat(
            getattr(found, side).filter(pl.col("row").is_in(rows[side])).select("group")
            for side in sorted(_PAIR)
        )
        no = [
            g for g, members in members_of(found.keep(touched)).items() if members in self.rejected
        ]
        return found.drop(pl.DataFrame({"group": no}, schema={"group": found.bank.schema["group"]}))


_PAIR: Final = frozenset({"bank", "ledger"})
_COMPARED_BY: Final = ("account", "amount", "own", "ref")


_TABLE: Final = 2**22
"""Places in a table of hashes: many times the open rows of a shard."""


def _touched(every: pl.DataFrame, opened: pl.DataFrame) -> pl.DataFrame:
    """Rows that share account and amount, or an id or reference, with a row that is open."""
    # by a part of the hash: where two keys share it, a row is kept that nobody asks for
    keys = {"amount": mixed(EQUAL), "own": mixed(("own",)), "ref": mixed(("ref",))}
    shared = pl.repeat(value=False, n=every.height, eager=True)
    for name, key in keys.items():
        asked = opened.drop_nulls(name).select(key).to_series()
        shared |= _maybe_in(every.select(key).to_series(), asked) & every[name].is_not_null()
    return every.filter(shared)


def _maybe_in(hashes: pl.Series, others: pl.Series) -> pl.Series:
    """Whether the others have each hash; for a few that they have not, it says so too.

    A table of bits stays in the processor's cache where a set of all hashes would not.
    """
    table = pl.repeat(value=False, n=_TABLE, eager=True).scatter(others % _TABLE, values=True)
    return table.gather(hashes % _TABLE)


def sharing(rows: pl.DataFrame, others: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """The rows, in their order, whose key one of the others has; for keys that few have."""
    # by hash first: few rows are left to compare
    here, there = (side.select(mixed(key)).to_series() for side in (rows, others))
    is_near = _maybe_in(here, there)
    near, here = rows.filter(is_near), here.filter(is_near)
    met = others.select(key).filter(there.is_in(here.implode()))
    return near.join(met, on=list(key), how="semi", maintain_order="left")


def members_of(found: Found) -> dict[int, Members]:
    """The members of each group as plain sets; for few groups."""
    sets: dict[int, set[tuple[str, int]]] = {}
    for side in sorted(_PAIR):
        for group, row in getattr(found, side).select("group", "row").iter_rows():
            sets.setdefault(group, set()).add((side, row))
    return {group: frozenset(members) for group, members in sets.items()}


def prepare(bank: pl.DataFrame, ledger: pl.DataFrame, rules: Rules) -> Sides:
    """Two checked frames in the columns that the passes share, sorted by account and id.

    Raises:
        InputError: two rows of one side have the same account and id.
    """
    runs = {"bank": _runs(bank), "ledger": _runs(ledger)}
    purses = pl.concat(purses for _, purses in runs.values())
    numbers = purses.unique().sort(PURSE).with_row_index("account")
    placed = numbers.with_columns(place=pl.col("account_id").rle_id())
    said_returned = (
        pl.col("reversal").fill_null(value=False) | pl.col("return_reason").is_not_null()
    )
    return Sides(
        _prepared(bank, _located(*runs["bank"], placed), rules, "bank", said_returned),
        _prepared(ledger, _located(*runs["ledger"], placed), rules, "ledger", pl.lit(value=False)),
    )


_OWN: Final[dict[Side, tuple[str, str, str]]] = {
    "bank": ("entry_id", "booking_date", "end_to_end_id"),
    "ledger": ("line_id", "effective_date", "payment_id"),
}


def _prepared(
    frame: pl.DataFrame, located: pl.DataFrame, rules: Rules, side: Side, returned: pl.Expr
) -> pl.DataFrame:
    member, day, own = _OWN[side]
    # texts are read before they are sorted: as they came they lie side by side in memory
    rows = frame.select(
        # each account's text once: the same few are read again and again
        located["account"],
        located["account_id"],
        "currency",
        pl.col(member).alias("member_id"),
        pl.col("amount_minor").alias("amount"),
        pl.col(day).alias("date"),
        known(frame[own], rules).alias("own"),
        plain_reference(frame["reference"], rules).alias("ref"),
        known(frame["batch_id"], rules).alias("batch"),
        "counterparty_name",
        "counterparty_account",
        "text",
        located["place"],
        returned=returned,
    )
    return _in_order(rows, frame, side).drop("place").with_row_index("row")


def _runs(frame: pl.DataFrame) -> tuple[pl.Series, pl.DataFrame]:
    """Which run of rows of one account and currency each row is of, and those of each run."""
    run = frame.select(pl.struct(PURSE).rle_id()).to_series()
    return run, frame.select(PURSE).filter(run.diff().fill_null(1) > 0)


def _located(run: pl.Series, purses: pl.DataFrame, accounts: pl.DataFrame) -> pl.DataFrame:
    """Of each row the columns of `accounts`; sorted input has few runs to look up."""
    placed = purses.join(accounts, on=PURSE, how="left", maintain_order="left")
    return placed.select("account_id", "account", "place")[run]


def _in_order(rows: pl.DataFrame, frame: pl.DataFrame, side: Side) -> pl.DataFrame:
    """The rows by account and id; input that is in this order already is not moved."""
    if rows.select(_ASCENDING).item():
        return rows
    # the first sort is of numbers, and leaves the second little to move
    ordered = rows.sort("place").sort("place", "member_id")
    if not ordered.select(_ASCENDING).item():
        refuse_repeats(frame, SHAPES[side], side)
    return ordered


_SAME_PLACE: Final = pl.col("place") == pl.col("place").shift()
_ASCENDING: Final = (
    (pl.col("place") > pl.col("place").shift())
    | (_SAME_PLACE & (pl.col("member_id") > pl.col("member_id").shift()))
).all()
"""Whether each row is behind the one before it: they are in order, and none repeats another."""


def label(side: Side) -> pl.Expr:
    """Side, account and id with their lengths: a name that no other row of the input has.

    Of rows that are `measured`.
    """
    return pl.concat_str(*account_parts(side), *member_parts("member_id"))


def account_parts(side: Side) -> tuple[pl.Expr, ...]:
    """What a label begins with, the same for all rows of an account."""
    account = pl.col("account_id_bytes"), pl.col("account_id")
    return (pl.lit(f"{side}:"), *account, pl.lit(":"))


def member_parts(member: str) -> tuple[pl.Expr, ...]:
    """What a label ends with, given the column of the id."""
    return (pl.col(f"{member}_bytes"), pl.col(member))


def measured(rows: pl.DataFrame, *names: str) -> pl.DataFrame:
    """The rows with the length of each text named, in digits and a colon, as `<name>_bytes`."""
    return rows.with_columns(_length(rows[name]).alias(f"{name}_bytes") for name in names)


def _length(text: pl.Series) -> pl.Series:
    # the same few lengths occur again and again: each is put in digits once
    length = text.str.len_bytes()
    longest: int = length.max() or 0  # type: ignore[assignment]  # of lengths
    digits = pl.Series([f"{number}:" for number in range(longest + 1)], dtype=pl.String)
    return digits.gather(length)


def digest(text: pl.Expr) -> pl.Expr:
    """The first 32 hexadecimal digits of each text's SHA-256."""
    # a slice need not look for the ends of characters, as a head does
    return CryptographicHashingNameSpace(text).sha2_256().str.slice(0, 32)


def known(text: pl.Series, rules: Rules) -> pl.Series:
    """The text without spaces around it, or null where the bank only says that there is none."""
    words = [word.upper() for word in rules.empty_ids]
    bare = text.str.strip_chars()
    # upper case has never fewer letters, and most texts are too long to be such a word
    short = (bare.str.len_chars() <= max(map(len, words), default=0)).arg_true()
    empty = short.filter(bare.gather(short).str.to_uppercase().is_in(words))
    return bare.scatter(empty, None) if len(empty) else bare


def plain_reference(reference: pl.Series, rules: Rules) -> pl.Series:
    """A reference as a person reads it; null where it says only that there is none."""
    plain = folded(reference)
    empty = folded(pl.Series(rules.empty_ids, dtype=pl.String)).drop_nulls()
    return _without(plain, plain.is_in(empty.implode()))


def folded(text: pl.Series) -> pl.Series:
    """Text by its letters and digits alone, whatever their width and case; null if it has none."""
    # most are capitals, digits and Han characters, perhaps with hyphens between: quickly done
    joined = text.str.replace_all("-", "", literal=True)
    others = joined.str.contains(r"[^0-9A-Z\x{4E00}-\x{9FFF}]").arg_true()
    if len(others):
        joined = joined.scatter(others, _folded(text.gather(others)))
    return _without(joined, joined == "")


def _folded(text: pl.Series) -> pl.Series:
    plain = text.str.len_bytes() == text.str.len_chars()
    # NFKC leaves ASCII as it is
    normal = text.zip_with(plain, text.set(plain, None).str.normalize("NFKC"))
    return normal.str.to_uppercase().str.replace_all(r"[^\p{L}\p{N}]+", "")


def _without(text: pl.Series, which: pl.Series) -> pl.Series:
    """The texts, null where told."""
    return text.set(which, None) if which.any() else text


_KEY: Final = ("account", "amount", "key")


def unique_pairs(
    bank: pl.DataFrame, ledger: pl.DataFrame, bank_key: str, ledger_key: str
) -> pl.DataFrame:
    """Pairs of one account, currency and amount whose key occurs once on either side.

    The hashes of both sides' keys are sorted as one list, and a pair is two neighbours of either
    side that no third one equals: no text is compared but where two hashes agree.

    Columns `bank` and `ledger` (rows), `own` and `own_ledger` (their ids of ours).
    """
    left, right = (
        side.select("account", "amount", "own", "row", key=key)
        for side, key in ((bank, bank_key), (ledger, ledger_key))
    )
    met = _neighbours(pl.concat([_hashed(left), _hashed(right)]))
    is_pair = _ONLY_TWO & ((pl.col("at") < left.height) != (pl.col("before") < left.height))
    pairs = met.filter(is_pair).select(
        bank=pl.min_horizontal("at", "before"),
        ledger=pl.max_horizontal("at", "before") - left.height,
    )
    # in order, for what lies side by side in memory is read many times faster
    places = pairs.sort("bank")
    entries, lines = left[places["bank"]], right[places["ledger"]]
    others = met.filter(pl.col("same") & ~is_pair)
    both = pl.concat([left, right])
    if not (_agree(entries, lines) and _agree(both[others["at"]], both[others["before"]])):
        return _pairs_by_key(left, right)
    return entries.select("own", lines["own"].alias("own_ledger"), bank="row", ledger=lines["row"])


_ONLY_TWO: Final = (
    pl.col("same")
    & ~pl.col("same").shift(1, fill_value=False)
    & ~pl.col("same").shift(-1, fill_value=False)
)


def _neighbours(hashes: pl.DataFrame) -> pl.DataFrame:
    """The places `at` that have a hash, by hash; `same` if the place `before` has the same."""
    # one number is sorted faster than two: a hash gives its lowest bits for its place
    places = 1 << hashes.height.bit_length()
    place = pl.int_range(pl.len(), dtype=pl.UInt64)
    placed = hashes.select(number=(pl.col("hash") // places * places + place).drop_nulls().sort())
    number, at = pl.col("number"), (pl.col("number") % places).cast(pl.UInt32)
    same = (number ^ number.shift()) < places
    return placed.select(at=at, before=at.shift(), same=same.fill_null(value=False))


def _hashed(side: pl.DataFrame) -> pl.DataFrame:
    """A hash of each row's key; null if it has none."""
    return side.select(hash=pl.when(pl.col("key").is_not_null()).then(mixed(_KEY)))


def mixed(names: Sequence[str]) -> pl.Expr:
    """One hash of several columns: equal where they are equal, and hardly ever elsewhere."""
    hashes = (pl.col(name).hash(seed) for seed, name in enumerate(names))
    return functools.reduce(operator.xor, hashes).alias("hash")


def _agree(rows: pl.DataFrame, others: pl.DataFrame) -> bool:
    """Whether rows whose hashes agree have the same keys."""
    return rows.select(_KEY).equals(others.select(_KEY))


def _pairs_by_key(left: pl.DataFrame, right: pl.DataFrame) -> pl.DataFrame:
    """`unique_pairs` where two keys share a hash, which hardly ever happens: by the keys alone."""
    alone = [
        side.drop_nulls("key").unique(_KEY, keep="none", maintain_order=True)
        for side in (left, right)
    ]
    pairs = alone[0].join(alone[1], on=_KEY, suffix="_ledger")
    return pairs.select("own", "own_ledger", bank="row", ledger="row_ledger").sort("bank")


def as_found(pairs: pl.DataFrame) -> Found:
    """Pairs (columns `bank` and `ledger`, rows) as groups, named by their bank row."""
    bank, ledger = pairs["bank"], pairs["ledger"]
    return Found(
        pl.DataFrame({"group": bank, "row": bank}), pl.DataFrame({"group": bank, "row": ledger})
    )


def gather(founds: Sequence[Found]) -> Found:
    """Several findings as one; their groups must not share numbers."""
    return Found(pl.concat([f.bank for f in founds]), pl.concat([f.ledger for f in founds]))


def in_window(bank_date: pl.Expr, ledger_date: pl.Expr, rules: Rules) -> pl.Expr:
    """Whether the bank booked within the rules' calendar days around the ledger's date."""
    days = (bank_date - ledger_date).dt.total_days()
    return days.is_between(-rules.window_days_before, rules.window_days_after)


def says(text: pl.Expr, words: Iterable[str]) -> pl.Expr:
    """Whether the text has one of the words; a Latin word only whole: no fee in a coffee."""
    listed = [re.escape(word) for word in words]
    edged = [rf"(?-u:\b){word}(?-u:\b)" if word.isascii() else word for word in listed]
    pattern = "(?i)" + "|".join(edged) if edged else r"[^\s\S]"
    return text.str.contains(pattern).fill_null(value=False)
