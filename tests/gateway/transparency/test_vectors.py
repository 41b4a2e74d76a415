"""Proofs as another project's verifier judges them; see vectors/README.md."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from gateway.transparency.merkle import (
    HASH_BYTES,
    ProofError,
    verify_consistency,
    verify_inclusion,
)

FILE = Path(__file__).parent / "vectors" / "merkle.jsonl"
CASES = [json.loads(line) for line in FILE.read_text().splitlines()]


def judge(case: dict[str, Any]) -> None:
    x, y = b64decode(case["x"]), b64decode(case["y"])
    proof = [b64decode(each) for each in case["proof"] or ()]
    if case["kind"] == "inclusion":
        verify_inclusion(case["a"], case["b"], x, proof, y)
    else:
        verify_consistency(case["a"], case["b"], x, y, proof)


def is_of_hashes(case: dict[str, Any]) -> bool:
    return all(len(b64decode(case[side])) == HASH_BYTES for side in "xy")


def test_all_cases_are_there() -> None:
    assert len(CASES) == 195
    assert sum(not case["err"] for case in CASES) == 14


@pytest.mark.parametrize("case", [case for case in CASES if not case["err"]])
def test_what_is_proved_is_taken(case: dict[str, Any]) -> None:
    if is_of_hashes(case):
        judge(case)
        return
    # That verifier believes any bytes of trees that must be the same; here a root is a hash.
    with pytest.raises(ProofError):
        judge(case)


@pytest.mark.parametrize("case", [case for case in CASES if case["err"]])
def test_what_is_not_proved_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(ProofError):
        judge(case)


def test_few_cases_are_not_of_hashes() -> None:
    assert sum(not is_of_hashes(case) for case in CASES if not case["err"]) == 3
