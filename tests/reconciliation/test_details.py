"""How a case's sentence writes its figures."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciliation.details import money


@settings(deadline=None)
@given(st.lists(st.integers(-(2**60), 2**60), min_size=1))
def test_an_amount_is_written_as_people_write_it(amounts: list[int]) -> None:
    written = pl.DataFrame({"amount": amounts}).select(money(pl.col("amount"))).to_series()
    assert written.to_list() == [f"{Decimal(amount).scaleb(-2):,.2f}" for amount in amounts]
