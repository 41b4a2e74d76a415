"""What a release is made of: the locked run-time packages, and their licences."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from release.build import ReleaseError, is_audited, licences_of, objection, run_time_lock

LOCK = (Path(__file__).resolve().parents[2] / "requirements.lock").read_text("utf-8")


def names(lock: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9.-]+)(?:\[[a-z,]+\])?==", lock, re.MULTILINE))


def test_the_run_time_lock_has_what_runs_and_nothing_else() -> None:
    kept = names(run_time_lock(LOCK))
    # Directly needed, needed by those, and needed because of an extra of one of them.
    assert {"grpcio", "starlette", "h11", "greenlet"} <= kept
    assert not kept & {"pytest", "mypy", "grpcio-tools", "opentelemetry-sdk", "ray"}
    assert kept < names(LOCK)


def test_the_run_time_lock_keeps_every_hash_and_marker() -> None:
    kept = run_time_lock(LOCK)
    entries = re.split(r"\n(?=\S)", kept.strip())
    assert len(entries) == len(names(kept))
    for entry in entries:
        assert "--hash=sha256:" in entry
        assert entry.split("\n")[0] in LOCK


@pytest.mark.parametrize(
    "licences",
    [
        ["MIT"],
        ["Apache-2.0", "BSD-3-Clause"],
        ["LGPL-2.1-or-later"],
        ["GNU Lesser General Public License v3 (LGPLv3)"],
        ["EPL-2.0 OR GPL-2.0-or-later"],
    ],
)
def test_a_licence_that_leaves_us_free_fits(licences: list[str]) -> None:
    assert objection("some", licences) == ""


@pytest.mark.parametrize(
    "licences",
    [
        [],
        [""],
        ["GPL-3.0-only"],
        ["AGPL-3.0-or-later"],
        ["GNU General Public License v2 (GPLv2)"],
        ["GNU Affero General Public License v3"],
        ["MIT AND GPL-2.0-only"],
        ["MIT", "GPL-2.0-or-later"],
        ["GPL v3 or later"],
        ["GPL-2.0-only AND (MIT OR ISC)"],
    ],
)
def test_copyleft_and_silence_do_not_fit(licences: list[str]) -> None:
    assert objection("some", licences)


def test_licences_are_read_however_the_bill_writes_them() -> None:
    component = {
        "licenses": [
            {"license": {"id": "MIT"}},
            {"license": {"name": "ours"}},
            {"expression": "MIT OR ISC"},
        ]
    }
    assert licences_of(component) == ["MIT", "ours", "MIT OR ISC"]
    assert licences_of({}) == []


SOUND = {"name": "lxml", "version": "6", "vulns": []}
WEAK = {"name": "h11", "version": "0", "vulns": [{"id": "GHSA-1"}]}
UNKNOWN = {"name": "rich", "skip_reason": "not found"}


def test_only_an_audit_of_every_package_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert is_audited([SOUND])
    assert not is_audited([SOUND, UNKNOWN])
    assert "NOT audited" in capsys.readouterr().out
    # What a package index without advisories answers.
    assert not is_audited([UNKNOWN, UNKNOWN])
    assert "NOT audited" in capsys.readouterr().out


def test_a_known_weakness_keeps_a_release_from_being_one() -> None:
    with pytest.raises(ReleaseError, match="h11 0: GHSA-1"):
        is_audited([SOUND, WEAK, UNKNOWN])
