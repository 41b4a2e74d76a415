"""Made-up books put into a gateway's database, as statements and disclosed lines of many funds.

Only what a night reads and writes is there: estates, funds, books, accounts, statements, bank
entries and lines. Their journal entries are not, since no night looks at them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Final

import asyncpg
import polars as pl
import structlog

from benchmarks.truth import START, Plan, generate

if TYPE_CHECKING:
    from benchmarks.truth import Books

log = structlog.get_logger(__name__)

ACCOUNTS_A_PART: Final = 20_000
"""Made and loaded at a time: what bounds the memory of loading."""
_LOADED_AT: Final = datetime(2026, 3, 1, tzinfo=UTC)
_FUND: Final = pl.format("f{}", pl.col("account_id"))
_NOWHERE: Final = "{}"


async def load(url: str, plan: Plan) -> tuple[int, int]:
    """Fills an empty, migrated database; how many bank entries and lines it has then."""
    conn = await asyncpg.connect(url)
    try:
        await _trustee(conn)
        # What is made up here refers to nothing that is not there: to look at each row costs half.
        await conn.execute("SET session_replication_role = replica")
        entries = lines = 0
        for first in range(0, plan.accounts, ACCOUNTS_A_PART):
            count = min(ACCOUNTS_A_PART, plan.accounts - first)
            part = Plan(f"{plan.seed}/{first}", count, plan.lines, plan.round_permille, first)
            books = generate(part)
            for table, rows in tables(books).items():
                await _copy(conn, table, rows)
            entries, lines = entries + books.bank.height, lines + books.ledger.height
            log.info("estates_loaded", funds=first + count, of=plan.accounts)
        # So that no plan of a query is made for an empty database.
        await conn.execute("ANALYZE")
        return entries, lines
    finally:
        await conn.close()


def tables(books: Books) -> dict[str, pl.DataFrame]:
    """The books as rows of the gateway's tables, in an order that keys allow."""
    bank, ledger = books.bank.with_columns(fund_id=_FUND), books.ledger.with_columns(fund_id=_FUND)
    accounts = pl.concat(
        [bank.select("fund_id", "account_id"), ledger.select("fund_id", "account_id")]
    )
    funds = accounts.unique().sort("fund_id").join(_sums(bank, "moved"), on="fund_id", how="left")
    lines = _lines(ledger)
    return {
        "estates": funds.select("fund_id", display_name="fund_id").rename({"fund_id": "estate_id"})
        .with_columns(created_at=pl.lit(_LOADED_AT)),
        "funds": _funds(funds, lines),
        "books": _books(lines),
        "bank_accounts": _accounts(funds),
        "statements": _statements(funds, bank, books),
        "bank_entries": _entries(bank),
        "disclosed_lines": lines,
    }  # fmt: skip


def _sums(rows: pl.DataFrame, name: str) -> pl.DataFrame:
    return rows.group_by("fund_id").agg(pl.col("amount_minor").sum().alias(name))


def _funds(funds: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    last = lines.group_by("fund_id").agg(
        last_line_number=pl.col("line_number").max(), running_minor=pl.col("amount_minor").sum()
    )
    known = funds.join(last, on="fund_id", how="left")
    return known.select(
        "fund_id",
        pl.lit("trustee").alias("trustee_id"),
        pl.lit("CNY").alias("currency"),
        pl.lit(_LOADED_AT).alias("created_at"),
        pl.col("last_line_number", "running_minor").fill_null(0),
        estate_id="fund_id",
        display_name="fund_id",
    )


def _books(lines: pl.DataFrame) -> pl.DataFrame:
    """All lines are of the common book and none is settled yet."""
    amount = pl.col("amount_minor")
    return lines.group_by("fund_id").agg(
        pl.lit("COMMON").first().alias("book"),
        total_minor=amount.sum(),
        pending_in_minor=amount.filter(amount > 0).sum(),
        pending_out_minor=amount.filter(amount < 0).sum(),
    )


def _accounts(funds: pl.DataFrame) -> pl.DataFrame:
    return funds.select(
        "fund_id",
        pl.lit("main").alias("account_id"),
        pl.lit("示例").alias("holder_name"),
        pl.lit("102100099996").alias("bank_code"),
        pl.lit("demo").alias("profile_id"),
        pl.lit(0).alias("opening_minor"),
        pl.lit(START - timedelta(days=30)).alias("opening_date"),
        pl.lit(_LOADED_AT).alias("created_at"),
        account_number="account_id",
        bank_minor=pl.col("moved").fill_null(0),
    )


def _statements(funds: pl.DataFrame, bank: pl.DataFrame, books: Books) -> pl.DataFrame:
    """One an account, of all the days."""
    counts = bank.group_by("fund_id").len("entry_count")
    return funds.join(counts, on="fund_id", how="left").select(
        "fund_id",
        pl.lit("s1").alias("statement_key"),
        pl.lit("main").alias("account_id"),
        pl.lit("s1").alias("bank_statement_id"),
        pl.lit(START - timedelta(days=29)).alias("start_date"),
        pl.lit(books.as_of).alias("end_date"),
        pl.lit(0).alias("opening_minor"),
        pl.col("moved").fill_null(0).alias("closing_minor"),
        pl.col("entry_count").fill_null(0),
        pl.lit("0" * 64).alias("file_sha256"),
        pl.lit(_LOADED_AT).alias("created_at"),
        pl.lit(_NOWHERE).alias("findings"),
    )


_TEXTS: Final = ("reference", "batch_id", "counterparty_name", "counterparty_account")


def _entries(bank: pl.DataFrame) -> pl.DataFrame:
    return bank.select(
        "fund_id",
        pl.col("entry_id").alias("bank_entry_id"),
        pl.lit("main").alias("account_id"),
        pl.lit("s1").alias("statement_key"),
        "entry_id",
        "booking_date",
        "value_date",
        "amount_minor",
        "currency",
        pl.col(*_TEXTS, "end_to_end_id", "text").fill_null(""),
        pl.col("reversal").fill_null(value=False),
        pl.lit("").alias("return_reason"),
    )


def _lines(ledger: pl.DataFrame) -> pl.DataFrame:
    """Numbered within their fund without gaps, in the order of the books' own ids."""
    ordered = ledger.sort("fund_id", "line_id")
    return ordered.select(
        "fund_id",
        pl.int_range(1, pl.len() + 1).over("fund_id").alias("line_number"),
        pl.lit("main").alias("account_id"),
        pl.lit("COMMON").alias("book"),
        pl.lit("其他").alias("category"),
        pl.col("text").fill_null("").alias("summary"),
        "amount_minor",
        pl.col("amount_minor").cum_sum().over("fund_id").alias("running_minor"),
        "effective_date",
        pl.lit(_LOADED_AT).alias("disclosed_at"),
        pl.col(*_TEXTS, "payment_id").fill_null(""),
        pl.lit(_NOWHERE).alias("vouchers"),
        pl.lit("[]").alias("signatures"),
    )


async def _trustee(conn: asyncpg.Connection) -> None:
    await conn.execute(
        "INSERT INTO parties (party_id, display_name, created_at) VALUES ('trustee', '示例', $1)",
        _LOADED_AT,
    )


async def _copy(conn: asyncpg.Connection, table: str, rows: pl.DataFrame) -> None:
    content = BytesIO()
    # Empty text is quoted, nothing is null: so the two cannot be mistaken for each other.
    rows.write_csv(content, include_header=False, quote_style="non_numeric")
    content.seek(0)
    await conn.copy_to_table(table, source=content, columns=rows.columns, format="csv")
