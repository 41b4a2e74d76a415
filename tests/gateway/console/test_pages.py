"""What anybody reads of a fund in a browser: all of the book, nobody's name, and nothing to run."""

from __future__ import annotations

import html
import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from gateway.disclosure.pictures import Region
from gateway.disclosure.proof_file import ShownCertificate, ShownLine, check
from gateway.disclosure.publisher import broken
from gateway.domain.duties import DisclosureRules
from gateway.domain.party import Role
from gateway.domain.split import Basis, Share
from gateway.duties.rules import set_rules
from gateway.questions.asking import Speaker, answer, ask
from gateway.store import GATEWAY
from tests.gateway.console.vouchers import PAPER, VOUCHER, rendered, with_voucher
from tests.gateway.disclosure.papers import NAME
from tests.gateway.disclosure.test_group import together
from tests.gateway.night.world import DAY, NOW, TODAY

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from gateway.disclosure.publisher import Publisher
    from tests.gateway.night.world import World

LINES = "/funds/f1/lines"
ALL = ("/", "/funds/f1", "/funds/f1?months=2026-10..2026-11", LINES, f"{LINES}/2", f"{LINES}/3")


async def test_a_fund_is_found_by_the_name_of_its_estate(browser: httpx.AsyncClient) -> None:
    assert 'href="/funds/f1"' in (await browser.get("/", params={"q": "示"})).text
    nothing = await browser.get("/", params={"q": "%"})
    assert "没有找到" in nothing.text


async def test_a_book_is_opening_and_income_less_cost(browser: httpx.AsyncClient) -> None:
    page = (await browser.get("/funds/f1")).text
    # What was paid and came back is neither cost nor income.
    for figure in ("1,000.00", "2,500.00", "0.00", "3,500.00"):
        assert f"<dd>{figure}</dd>" in page
    assert "log.example/trustee" in page


async def test_a_group_shows_each_fund_and_all_of_them_added_up(
    browser: httpx.AsyncClient, world: World
) -> None:
    await world.fund("f2", opening_minor=5)
    await together(world.store, "f1", "f2")
    await world.line("f2", 50, TODAY)
    link = re.search('href="(/groups/[^"]+)"', (await browser.get("/funds/f1")).text)
    assert link is not None
    answer = await browser.get(link[1])
    for figure in ("3,500.00", "0.55"):
        assert f'class="money">{figure}</td>' in answer.text
    assert "<dd>3,500.55</dd>" in answer.text
    assert "互不混用" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    again = await browser.get(link[1], headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    assert "added up for reading only" in (await browser.get(f"{link[1]}?lang=en")).text
    assert "共同账单的分摊" not in answer.text


async def test_a_group_shows_the_shares_that_its_estates_have_published(
    browser: httpx.AsyncClient, world: World
) -> None:
    await together(world.store, "f1")
    share = Share(Basis.AREA, 1_234_567)
    async with world.store.transaction(GATEWAY) as conn:
        await set_rules(conn, "f1", DisclosureRules(share=share), now=world.now)
    link = re.search('href="(/groups/[^"]+)"', (await browser.get("/funds/f1")).text)
    assert link is not None
    assert "按面积 12,345.67 m² · 规则第 1 版" in (await browser.get(link[1])).text


async def test_a_bar_is_as_long_as_its_kind_is_large(
    browser: httpx.AsyncClient, world: World
) -> None:
    await world.line("f1", -1, TODAY, category="邮资")
    await world.line("f1", -50_000, TODAY, category="绿化")
    page = (await browser.get("/funds/f1")).text
    bars = re.findall(r'<rect class="(\w+)" width="(\d+)%"', page)
    assert bars == [("income", "100"), ("cost", "20"), ("cost", "1")]


async def test_each_line_says_what_became_of_it(browser: httpx.AsyncClient) -> None:
    paid, red = (await browser.get(f"{LINES}/3")).text, (await browser.get(f"{LINES}/4")).text
    assert "见第 4 笔" in paid
    assert "-1,234.56 CNY" in paid
    assert "冲销第 3 笔" in red
    assert "银行退回" in red
    assert "尚未核对" in red


async def test_a_person_is_masked_and_an_organisation_is_not(browser: httpx.AsyncClient) -> None:
    texts = [(await browser.get(path)).text for path in ALL]
    assert all("小明" not in text and "62220000" not in text for text in texts)
    assert "欧阳*" in texts[3]
    assert "示例物业有限公司" in texts[3]


async def test_a_question_stands_on_its_line_with_its_answer(
    browser: httpx.AsyncClient, world: World
) -> None:
    async with world.store.transaction(GATEWAY) as conn:
        asker = Speaker("somebody", "trustee", Role.OWNER)
        question = await ask(conn, "f1", 3, text="为何退回？<b>", photo=b"", asker=asker, now=NOW)
        firm = Speaker("cashier", "trustee", Role.PROPERTY_FIRM)
        before = (await browser.get(f"{LINES}/3")).headers["etag"]
        await answer(conn, "f1", question, text="账号有误", by=firm, now=NOW)
    page = await browser.get(f"{LINES}/3", headers={"If-None-Match": before})
    assert "为何退回？&lt;b&gt;" in page.text
    assert "somebody" not in page.text
    assert "<p>账号有误</p><footer>物业公司 trustee" in page.text
    assert "还没有人问这一笔" in (await browser.get(f"{LINES}/2")).text


async def test_what_somebody_wrote_is_never_code(browser: httpx.AsyncClient) -> None:
    for path in (LINES, f"{LINES}/3", "/?q=<script>", f"{LINES}?book=<script>"):
        answer = await browser.get(path)
        assert "<script" not in answer.text
        assert "script-src" not in answer.headers["content-security-policy"]
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "&lt;script&gt;" in (await browser.get(f"{LINES}/3")).text


async def test_a_filter_stands_in_the_address_and_in_the_form(browser: httpx.AsyncClient) -> None:
    page = (await browser.get(LINES, params={"state": "PENDING", "from": "2026-11-20"})).text
    assert '<option value="PENDING" selected>' in page
    assert 'value="2026-11-20"' in page
    assert f'href="{LINES}/2"' in page
    assert f'href="{LINES}/3"' not in page


@pytest.mark.parametrize(
    ("asked", "said", "said_zh"),
    [
        ("book=NEITHER", "Book", "账簿</strong>：不是可选的值"),
        ("from=yesterday", "From", "起始日</strong>：应写成日期，如 2026-11-23"),
        ("from=2026-11-02&to=2026-11-01", "To", "截止日</strong>：不得早于起始日"),
        ("state=PENDING&disclosed_by=2026-11-01", "State", "回看过去的某一天时不能选状态"),
        ("after=-1", "Page", "页码</strong>：应为编号，如 12"),
        ("after=99999999999999999999", "Page", "应为编号，如 12"),
    ],
)
async def test_an_address_that_is_wrong_is_told_which_part_of_it(
    browser: httpx.AsyncClient, asked: str, said: str, said_zh: str
) -> None:
    answer = await browser.get(f"{LINES}?lang=en&{asked}")
    assert answer.status_code == 400
    assert f"<strong>{said}</strong>" in answer.text
    assert said_zh in (await browser.get(f"{LINES}?{asked}")).text


@pytest.mark.parametrize(
    ("asked", "said"),
    [("months=soon", "应写成月份"), ("from=2026-12&to=2026-01", "起始月不得晚于截止月")],
)
async def test_a_wrong_month_is_told_in_chinese(
    browser: httpx.AsyncClient, asked: str, said: str
) -> None:
    answer = await browser.get(f"/funds/f1?{asked}")
    assert answer.status_code == 400
    assert said in answer.text


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/nothing",
            "/groups/none",
            "/funds/f2",
            f"{LINES}/99",
            "/funds/f2/lines",
            f"{LINES}/99/proof",
        ),
        f"{LINES}/2/vouchers/{'0' * 64}",
        *("/log/../../keys/trustee.pem", "/static/../answer.py", "/log/%2e%2e/keys"),
        *("/funds/%00", "/?q=%00", "/?after=%00", f"{LINES}/2/vouchers/%00"),
    ],
)
async def test_what_is_not_there_is_a_page_that_says_so(
    browser: httpx.AsyncClient, path: str
) -> None:
    answer = await browser.get(path)
    assert answer.status_code == 404
    assert "没有这一页" in answer.text


async def test_the_last_day_of_the_calendar_is_a_day_like_any_other(
    browser: httpx.AsyncClient,
) -> None:
    ever = await browser.get(LINES, params={"disclosed_by": "9999-12-31"})
    assert f'href="{LINES}/4"' in ever.text
    assert (await browser.get("/funds/f1?months=9999-12..9999-12")).status_code == 400


async def test_a_defect_is_a_page_that_tells_nothing_of_it(
    pages: Starlette, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("secret")

    monkeypatch.setattr("gateway.console.pages.shown_line", fail)
    transport = httpx.ASGITransport(pages, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://book.example") as client:
        answer = await client.get(LINES)
    assert answer.status_code == 500
    assert "这一页出了错" in answer.text
    assert "secret" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


async def test_a_fund_s_page_shows_both_keys_of_its_log(browser: httpx.AsyncClient) -> None:
    page = (await browser.get("/funds/f1")).text
    assert "日志公钥" in page
    assert "日志国密公钥（SM2）" in page
    checked = check((await browser.get(f"{LINES}/3/proof")).text)
    assert html.escape(checked.sm2_key) in page
    assert html.escape(checked.log_key) in page


async def test_nothing_can_be_sent(browser: httpx.AsyncClient) -> None:
    for path in ("/", LINES, "/log/trustee/checkpoint"):
        assert (await browser.post(path)).status_code == 405


async def test_the_past_of_a_line_is_as_it_was_disclosed(browser: httpx.AsyncClient) -> None:
    before = await browser.get(LINES, params={"disclosed_by": "2026-11-19"})
    assert "没有符合条件的账目" in before.text
    assert (await browser.get(LINES, params={"disclosed_by": "2026-11-20"})).text.count("<th ") > 4


async def test_pages_follow_one_another_without_a_gap(
    browser: httpx.AsyncClient, world: World
) -> None:
    for _ in range(60):
        await world.line("f1", 100, TODAY)
    first = (await browser.get(LINES, params={"book": "COMMON"})).text
    assert f'href="{LINES}?book=COMMON&amp;after=50"' in first
    second = (await browser.get(f"{LINES}?book=COMMON&after=50")).text
    seen = [number for number in range(1, 65) if f'href="{LINES}/{number}"' in first + second]
    assert seen == list(range(1, 65))


async def test_what_did_not_change_is_not_sent_again(
    browser: httpx.AsyncClient, world: World, publisher: Publisher
) -> None:
    for path in (*ALL, f"{LINES}/2/proof", "/log/trustee/checkpoint", "/static/console.css"):
        first = await browser.get(path)
        again = await browser.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (path, again.status_code, again.content) == (path, 304, b"")
    known = {path: (await browser.get(path)).headers["etag"] for path in (LINES, f"{LINES}/2")}
    await world.line("f1", -250_000, TODAY, corrects=2, correction_reason="记错")
    await publisher.log_all()
    for path, tag in known.items():
        assert (await browser.get(path, headers={"If-None-Match": tag})).status_code == 200


async def test_a_tile_may_be_kept_for_ever_and_a_checkpoint_may_not(
    browser: httpx.AsyncClient,
) -> None:
    tile = await browser.get("/log/trustee/tile/0/000.p/4")
    checkpoint = await browser.get("/log/trustee/checkpoint")
    assert "immutable" in tile.headers["cache-control"]
    assert checkpoint.headers["cache-control"] == "public, no-cache"
    style = await browser.get("/static/console.css")
    assert style.headers["cache-control"] == "public, no-cache"
    assert style.headers["x-content-type-options"] == "nosniff"


async def test_the_proof_that_is_saved_proves_the_line_that_is_shown(
    browser: httpx.AsyncClient,
) -> None:
    answer = await browser.get(f"{LINES}/3/proof")
    checked = check(answer.text)
    assert answer.headers["content-disposition"].endswith('filename="f1-3.tlog-proof"')
    assert isinstance(checked.shown, ShownLine)
    assert (checked.shown.line.number, checked.shown.line.counterparty) == ("3", "欧阳*")


async def test_before_the_first_night_the_page_says_so(browser: httpx.AsyncClient) -> None:
    answer = await browser.get("/funds/f1/nights")
    assert "还没有核对过" in answer.text


async def test_a_night_is_shown_with_its_rest_and_its_proof_proves_it(
    world: World, publisher: Publisher, browser: httpx.AsyncClient
) -> None:
    await world.line("f1", 500, TODAY, reference="R5")
    matched: dict[str, Any] = {"amount_minor": 500, "reference": "R5"}
    await world.statement("f1", TODAY, [matched, {"amount_minor": 7}])
    await world.reconcile()
    await publisher.log_all()
    answer = await browser.get("/funds/f1/nights", params={"lang": "en"})
    for text in (TODAY.isoformat(), "2 · 5.07", "1 · 0.07", "Save night 1", "proved</td>"):
        assert text in answer.text
    world.now += DAY
    await world.reconcile(TODAY + DAY)
    assert "未证实</strong>：缺对账单" in (await browser.get("/funds/f1/nights")).text
    saved = await browser.get("/funds/f1/nights/1/proof")
    assert saved.headers["content-disposition"].endswith('filename="f1-night-1.tlog-proof"')
    shown = check(saved.text).shown
    assert isinstance(shown, ShownCertificate)
    assert shown.certificate.totals.open_entries.amount_minor == "7"
    assert (await browser.get("/funds/f1/nights/3/proof")).status_code == 404
    assert (await browser.get("/funds/f1/nights/x/proof")).status_code == 400


async def test_a_broken_log_is_not_shown(browser: httpx.AsyncClient, publisher: Publisher) -> None:
    publisher.standing.trouble = broken("trustee", "line 2 of fund f1 is gone")
    for path in ("/", "/funds/f1", LINES, f"{LINES}/2", f"{LINES}/2/proof"):
        answer = await browser.get(path, params={"lang": "en"})
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "60"
        assert "line 2 of fund f1 is gone" in answer.text
        assert answer.headers["cache-control"] == "no-store"


async def test_english_goes_on_from_page_to_page(browser: httpx.AsyncClient) -> None:
    page = (await browser.get(LINES, params={"lang": "en"})).text
    assert '<html lang="en">' in page
    assert f'href="{LINES}/2?lang=en"' in page
    assert "All lines" in (await browser.get("/funds/f1?lang=en")).text


async def test_a_voucher_without_a_public_copy_says_so_and_shows_its_hash(
    browser: httpx.AsyncClient, world: World
) -> None:
    await with_voucher(world)
    assert f'href="{VOUCHER}"' in (await browser.get(f"{LINES}/5")).text
    page = (await browser.get(VOUCHER)).text
    assert "尚未制作公开副本" in page
    assert sha256(PAPER).hexdigest() in page
    assert "<img" not in page
    english = await browser.get(VOUCHER, params={"lang": "en"})
    assert "The public copy is not made yet" in english.text
    assert (await browser.get(f"{VOUCHER}/pages/1")).status_code == 404


async def test_a_voucher_is_shown_as_pictures_that_come_to_the_hash_that_is_said(
    browser: httpx.AsyncClient, world: World
) -> None:
    await with_voucher(world)
    made = await rendered(world, Region(1, 50, 100, 500, 100))
    answer = await browser.get(VOUCHER)
    pictures = re.findall(r'<img src="([^"]+)" alt="([^"]+)"', answer.text)
    assert [src for src, _ in pictures] == [f"{VOUCHER}/pages/{page}" for page in (1, 2)]
    assert "第 2 页，共 2 页" in pictures[1][1]
    got = [await browser.get(src) for src, _ in pictures]
    assert sha256(got[0].content + got[1].content).hexdigest() == made.rendition_sha256
    assert made.rendition_sha256 in answer.text
    assert "1 处由制作人指定，2 个号码由网关自动遮盖" in answer.text
    for each in got:
        assert each.headers["content-type"] == "image/jpeg"
        assert each.headers["content-security-policy"] == answer.headers["content-security-policy"]
    assert "img-src 'self'" in answer.headers["content-security-policy"]
    assert NAME not in answer.text
    english = (await browser.get(VOUCHER, params={"lang": "en"})).text
    assert 'alt="Picture of the voucher of line 5, page 1 of 2; ' in english


async def test_a_new_public_copy_takes_the_place_of_the_one_that_was_kept(
    browser: httpx.AsyncClient, world: World
) -> None:
    await with_voucher(world)
    await rendered(world)
    for path in (VOUCHER, f"{VOUCHER}/pages/1"):
        tag = {"If-None-Match": (await browser.get(path)).headers["etag"]}
        assert (await browser.get(path, headers=tag)).status_code == 304
        await rendered(world, Region(1, 0, 0, 1000, 1000 - len(path)))
        assert (await browser.get(path, headers=tag)).status_code == 200


async def test_only_vouchers_of_disclosed_lines_and_only_their_pages_are_shown(
    browser: httpx.AsyncClient, world: World
) -> None:
    await with_voucher(world)
    await rendered(world)
    other = VOUCHER.replace("/lines/5/", "/lines/2/")
    for path in (other, f"{other}/pages/1", *(f"{VOUCHER}/pages/{at}" for at in (0, 3, "x"))):
        assert (await browser.get(path)).status_code == 404
