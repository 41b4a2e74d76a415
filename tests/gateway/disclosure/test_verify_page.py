"""The page that owners save, in a real browser.

Needs Debian's chromium; CI has it, and sets XINYI_BROWSER=1 so that its lack is a failure there.
"""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped] # ships none
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from playwright.sync_api import expect, sync_playwright

from gateway.disclosure.entry import Line, Mark, line_entry
from gateway.disclosure.proof_file import ShownCertificate, ShownLine, check, written
from gateway.disclosure.verify_page import verify_page
from gateway.domain.certificate import (
    AccountProof,
    BankEntry,
    Certificate,
    Details,
    Match,
    OpenItem,
    Part,
    Total,
)
from gateway.transparency.checkpoint import Checkpoint
from gateway.transparency.merkle import inclusion_proof, leaf_hash, tree_root
from gateway.transparency.note import Cosigner, NoteError, NoteSigner, parse_note, sign_note
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


KEYS: dict[str, Any] = {"log_key": str(LOG.key), "witness_keys": (str(SUPERVISOR.key),)}


def proof(index: int = 300, size: int = 515) -> str:
    shown = ShownLine(line=LINE, salt=SALT.hex(), **KEYS)
    return proof_of(shown, line_entry(LINE, SALT), index, size)


def proof_of(
    shown: ShownLine | ShownCertificate, entry: bytes, index: int = 300, size: int = 515
) -> str:
    """What the log would say of any entry, also of one that a gateway should never have logged."""
    entries = [b"entry %d" % number for number in range(size)]
    entries[index] = entry
    read = TileNodes(size, grown(0, {}, list(map(leaf_hash, entries))))
    text = str(Checkpoint(LOG.name, size, tree_root(size, read)))
    note = parse_note(f"{sign_note(text, [LOG])}{SUPERVISOR.sign(text, 1_800_000_000)}")
    return written(shown, index, inclusion_proof(index, size, read), note)


def night(details: Details, difference_minor: str = "-7", **totals: Total) -> str:
    """The proof of a night's certificate that fits its details, but for what is given."""
    account = AccountProof(
        account="main",
        ends="6789",
        bank_closing_minor="1241",
        ledger_minor="1234",
        open_bank_minor="7",
        open_ledger_minor="-7",
        difference_minor=difference_minor,
        proved="no",
        findings=("statement_missing",),
        proof="ab" * 32,
    )
    certificate = Certificate(
        fund=details.fund,
        number=details.number,
        date="2026-11-20",
        run="reconciliationRuns/r1",
        rules="1",
        previous="",
        currency="CNY",
        accounts=(account,),
        totals=details.totals().model_copy(update=totals),
        details_sha256=sha256(details.content()).hexdigest(),
    )
    shown = ShownCertificate(certificate=certificate, details=details, **KEYS)
    return proof_of(shown, certificate.entry())


_OPEN = OpenItem(
    id="b2", account="main", date="2026-11-01", amount_minor="7", days="19", kind="missing_line"
)
DETAILS = Details(
    fund="funds/wutong",
    number="3",
    came=(
        BankEntry(id="b1", account="main", date="2026-11-20", amount_minor="1234"),
        BankEntry(id="b2", account="main", date="2026-11-01", amount_minor="7"),
    ),
    matches=(
        Match(
            rule="reference",
            entries=(Part(id="b1", amount_minor="1234"),),
            lines=(Part(id="12", amount_minor="1234"),),
        ),
    ),
    open_entries=(_OPEN,),
    open_lines=(_OPEN.model_copy(update={"id": "14", "amount_minor": "-7"}),),
)


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


def test_it_proves_a_night_and_tells_what_is_open(page: Page) -> None:
    text = night(DETAILS)
    assert isinstance(check(text).shown, ShownCertificate)
    assert verdict(page, text).startswith("成立：该夜")
    shown = page.locator("#facts").inner_text()
    for said in (
        "2 · 12.41 元",
        "流水 Entry b2",
        "0.07 元 · 2026-11-01 · 19 天",
        "-0.07 元",
        "未证实",
        "缺对账单 statement missing",
    ):
        assert said in shown


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (night(DETAILS.model_copy(update={"open_entries": ()})), "neither matched nor open"),
        (night(DETAILS.model_copy(update={"matches": ()})), "neither matched nor open"),
        (night(DETAILS, came=Total(count="1", amount_minor="1234")), "do not come to"),
        (night(DETAILS, difference_minor="0"), "does not come to its difference"),
        (
            night(
                DETAILS.model_copy(
                    update={"matches": (DETAILS.matches[0].model_copy(update={"lines": ()}),)}
                )
            ),
            "different sums",
        ),
    ],
)
def test_it_refuses_a_night_that_does_not_add_up_although_it_was_logged(
    page: Page, text: str, why: str
) -> None:
    """As the command does, in the same words."""
    with pytest.raises(NoteError, match=why):
        check(text)
    answer = verdict(page, text)
    assert answer.startswith("不成立")
    assert why in answer


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
