"""The page that owners save, in a real browser.

Needs Debian's chromium; CI has it, and sets XINYI_BROWSER=1 so that its lack is a failure there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped] # ships none
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from playwright.sync_api import expect, sync_playwright

from gateway.disclosure.entry import Line, Mark, line_entry
from gateway.disclosure.line_proof import Shown, written
from gateway.disclosure.verify_page import verify_page
from gateway.transparency.checkpoint import Checkpoint
from gateway.transparency.merkle import inclusion_proof, leaf_hash, tree_root
from gateway.transparency.note import Cosigner, NoteSigner, parse_note, sign_note
from gateway.transparency.tiles import TileNodes, grown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

BROWSER = Path("/usr/bin/chromium")
LOG = NoteSigner("log.example/trust", Ed25519PrivateKey.from_private_bytes(b"l" * 32))
SUPERVISOR = Cosigner("witness.example/w", Ed25519PrivateKey.from_private_bytes(b"w" * 32))
SALT = bytes(range(16))
LINE = Line(
    fund="funds/wutong",
    number="12",
    book="COMMON",
    category="清洁",
    summary='十月垃圾袋 "加厚" \u2028 <b>\\',
    amount_minor="-1234567",
    running_minor="-5",
    currency="CNY",
    effective_date="2026-10-01",
    disclosed_at="2026-10-01T08:00:00+00:00",
    counterparty="王*",
    counterparty_account="6789",
    vouchers=("ab" * 32, "cd" * 32),
    corrects="7",
    correction_reason="金额有误",
    signatures=(Mark(party_name="梧桐苑业委会", role="OWNERS_COMMITTEE", created_at="2026"),),
)

pytestmark = pytest.mark.skipif(
    os.environ.get("XINYI_BROWSER") != "1" and not BROWSER.exists(),
    reason="needs Debian's chromium",
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page as an owner has saved it, on a phone."""
    saved = tmp_path_factory.mktemp("page") / "verify.html"
    saved.write_text(verify_page())
    with sync_playwright() as playwright:
        # Chromium refuses its own sandbox to root, as whom CI runs.
        browser = playwright.chromium.launch(
            executable_path=str(BROWSER), args=["--no-sandbox"] if os.geteuid() == 0 else []
        )
        opened = browser.new_page(viewport={"width": 390, "height": 844}, locale="zh-CN")
        opened.goto(saved.as_uri())
        yield opened
        browser.close()


def proof(index: int = 300, size: int = 515) -> str:
    entries = [b"entry %d" % number for number in range(size)]
    entries[index] = line_entry(LINE, SALT)
    read = TileNodes(size, grown(0, {}, list(map(leaf_hash, entries))))
    text = str(Checkpoint(LOG.name, size, tree_root(size, read)))
    note = parse_note(f"{sign_note(text, [LOG])}{SUPERVISOR.sign(text, 1_800_000_000)}")
    shown = Shown(LINE, SALT, str(LOG.key), (str(SUPERVISOR.key),))
    return written(shown, index, inclusion_proof(index, size, read), note)


def verdict(page: Page, text: str, key: str = "") -> str:
    page.get_by_label("日志公钥").fill(key)
    page.get_by_label("证明文件").set_input_files(
        {"name": "l.tlog-proof", "mimeType": "text/plain", "buffer": text.encode()}
    )
    said = page.get_by_role("status")
    expect(said).not_to_have_text("")
    answer = said.inner_text()
    page.evaluate("document.getElementById('verdict').textContent = ''")
    return answer


@pytest.mark.parametrize(("index", "size"), [(0, 1), (300, 515), (511, 512), (514, 515)])
def test_it_proves_what_python_made(page: Page, index: int, size: int) -> None:
    assert verdict(page, proof(index, size)).startswith("成立")
    shown = page.locator("#facts").inner_text()
    for text in ("12,345.67 元", '十月垃圾袋 "加厚"', "<b>", "-0.05 元", "witness.example/w 2027"):
        assert text in shown


@pytest.mark.parametrize(
    ("there", "instead"),
    [("index 300", "index 301"), ("\n515\n", "\n516\n"), ("c2sp.org", "c3sp.org")],
)
def test_it_refuses_what_was_changed(page: Page, there: str, instead: str) -> None:
    assert verdict(page, proof().replace(there, instead)).startswith("不成立")
    assert page.locator("#facts").inner_text() == ""


def test_it_refuses_another_line_under_the_same_proof(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = proof()
    dearer = LINE.model_copy(update={"amount_minor": "-1234568"})
    monkeypatch.setitem(globals(), "LINE", dearer)
    forged = proof()
    mixed = forged.split("\n")[:2] + honest.split("\n")[2:]
    assert "不成立" in verdict(page, "\n".join(mixed))


def test_the_reader_s_own_key_goes_before_the_file_s(page: Page) -> None:
    other = NoteSigner(LOG.name, Ed25519PrivateKey.from_private_bytes(b"x" * 32))
    assert verdict(page, proof(), str(LOG.key)).startswith("成立")
    assert "has not signed" in verdict(page, proof(), str(other.key))


def test_it_loads_nothing_and_is_accessible(page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    verdict(page, proof())
    assert asked == []
    found: dict[str, Any] = Axe().run(page).response
    assert [each["id"] for each in found["violations"]] == []
