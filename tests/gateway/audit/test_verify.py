"""`xinyi audit verify` names what a superuser did to the log."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.audit import anchor
from gateway.audit.verify import Verdict, verify
from gateway.settings import Settings
from tests.gateway.audit.scene import kept, tamper, write

if TYPE_CHECKING:
    from gateway.store import Store

CHANGES = {
    "an entry is changed": (["UPDATE audit_entries SET person_id = 'other' {entry}"], 3),
    "an outcome is changed": (["UPDATE audit_entries SET code = 'OK', reason = '' {entry}"], 3),
    "a moment is changed": (["UPDATE audit_entries SET at = at - interval '1 us' {entry}"], 3),
    "an entry is removed": (["DELETE FROM audit_entries {entry}"], 3),
    "a link is removed": (["DELETE FROM audit_links WHERE sequence = 3"], 3),
    "both are removed": (
        ["DELETE FROM audit_entries {entry}", "DELETE FROM audit_links WHERE sequence = 3"],
        3,
    ),
    "both are removed and the rest moves up": (
        [
            "DELETE FROM audit_entries {entry}",
            "DELETE FROM audit_links WHERE sequence = 3",
            "UPDATE audit_links SET sequence = sequence - 1 WHERE sequence > 3",
        ],
        3,
    ),
    "two entries change places": (
        [
            "ALTER TABLE audit_links DROP CONSTRAINT uq_audit_links_entry_id",
            (
                "UPDATE audit_links l SET entry_id = o.entry_id FROM audit_links o"
                " WHERE (l.sequence, o.sequence) IN ((3, 4), (4, 3))"
            ),
        ],
        3,
    ),
    "the newest ones are cut off": (["DELETE FROM audit_links WHERE sequence > 4"], 5),
    "all of it is cut off": (["DELETE FROM audit_links", "DELETE FROM audit_entries"], 5),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_what_was_done_to_the_log_is_named(store: Store, tmp_path: Path, name: str) -> None:
    await write(store, 5, code="ABORTED", reason="ETAG_MISMATCH")
    await kept(store, tmp_path)
    assert (await verify(store, [tmp_path])).fault is None

    statements, sequence = CHANGES[name]
    entry = "WHERE entry_id = (SELECT entry_id FROM audit_links WHERE sequence = 3)"
    await tamper(store, *(statement.format(entry=entry) for statement in statements))
    fault = (await verify(store, [tmp_path])).fault
    assert fault is not None
    assert fault.sequence == sequence


async def test_a_log_rewritten_from_one_entry_on_breaks_with_the_anchor(
    store: Store, tmp_path: Path
) -> None:
    """Whoever recomputes every hash still cannot reach what lies outside."""
    await write(store, 5)
    await kept(store, tmp_path)
    await tamper(store, "DELETE FROM audit_links", "UPDATE audit_entries SET peer = 'x'")
    await tamper(store, "DELETE FROM audit_entries")
    await write(store, 5, peer="another")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    await kept(store, elsewhere)
    assert (await verify(store, [elsewhere])).fault is None
    fault = (await verify(store, [tmp_path])).fault
    assert fault is not None
    assert "anchor" in fault.en


async def test_what_is_not_linked_yet_is_counted_and_proved_too(
    store: Store, tmp_path: Path
) -> None:
    await write(store, 2)
    await kept(store, tmp_path)
    await write(store, 3)
    verdict = await verify(store, [tmp_path])
    assert (verdict.head.sequence, verdict.unsealed, verdict.fault) == (2, 3, None)
    await tamper(
        store,
        "UPDATE audit_entries SET resource = 'x'"
        " WHERE entry_id = (SELECT max(entry_id) FROM audit_entries)",
    )
    fault = (await verify(store, [tmp_path])).fault
    assert fault is not None
    assert "changed" in fault.en


async def test_an_empty_log_is_whole(store: Store, tmp_path: Path) -> None:
    verdict = await verify(store, [tmp_path])
    assert verdict == Verdict(verdict.head, 0, None, 0, None)


def _run(url: str, data_dir: Path, *options: str) -> subprocess.CompletedProcess[str]:
    own = {"XINYI_DATABASE_URL": url, "XINYI_DATA_DIR": str(data_dir), "LANG": "en_US.UTF-8"}
    return subprocess.run(  # noqa: S603 - our own command
        [Path(sys.executable).with_name("xinyi"), "audit", "verify", *options],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **own},
    )


async def test_the_command_ends_with_0_whole_1_broken_and_2_where_it_cannot_say(
    store: Store, database_url: str, tmp_path: Path
) -> None:
    await write(store, 3)
    await kept(store, tmp_path)
    whole = _run(database_url, tmp_path, "--json")
    assert whole.returncode == 0, whole.stderr
    assert json.loads(whole.stdout)["sequence"] == 3

    await tamper(store, "UPDATE audit_entries SET peer = 'x'")
    broken = _run(database_url, tmp_path)
    assert broken.returncode == 1
    assert "entry 1: the entry was changed" in broken.stderr

    nowhere = _run("postgresql://nobody@127.0.0.1:1/none", tmp_path)
    assert nowhere.returncode == 2
    assert "Traceback" not in nowhere.stderr
    (tmp_path / anchor.FILE_NAME).write_text("{")
    unreadable = _run(database_url, tmp_path)
    assert unreadable.returncode == 2
    assert "anchor.json" in unreadable.stderr
    assert Settings(data_dir=tmp_path).anchor_dirs == ()


def test_without_a_database_there_is_nothing_to_verify_and_none_is_made(
    tmp_path: Path,
) -> None:
    told = _run("", tmp_path)
    assert told.returncode == 2
    assert list(tmp_path.iterdir()) == []
