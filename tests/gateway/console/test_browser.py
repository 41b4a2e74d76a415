"""The pages in a real browser, on a phone and on a desk.

Needs Debian's chromium; CI has it, and sets XINYI_BROWSER=1 so that its lack is a failure there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped] # ships none
from playwright.async_api import async_playwright, expect

from gateway.observe.page import serving_page
from tests.gateway.console.vouchers import VOUCHER, rendered, with_voucher
from tests.gateway.night.world import TODAY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, Page
    from starlette.applications import Starlette

    from tests.gateway.night.world import World

BROWSER = Path("/usr/bin/chromium")
PATHS = (
    *("/", "/funds/f1", "/funds/f1/lines", "/funds/f1/lines/2", "/funds/f1/lines/4"),
    *(
        "/funds/f1/nights",
        "/funds/f1/lines?book=x",
        "/funds/none",
        "/funds/f1?lang=en",
        "/funds/f1/lines?lang=en",
    ),
)

pytestmark = pytest.mark.skipif(
    os.environ.get("XINYI_BROWSER") != "1" and not BROWSER.exists(),
    reason="needs Debian's chromium",
)


@pytest.fixture
async def at(pages: Starlette) -> AsyncIterator[str]:
    async with serving_page("127.0.0.1:0", pages) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        # Chromium refuses its own sandbox to root, as whom CI runs.
        args = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = await playwright.chromium.launch(executable_path=str(BROWSER), args=args)
        yield browser
        await browser.close()


async def opened(chromium: Browser, width: int, height: int) -> tuple[Page, list[str]]:
    """A page, and what the browser complains of: what was blocked, and what failed to load."""
    page = await chromium.new_page(viewport={"width": width, "height": height}, locale="zh-CN")
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return page, complaints


@pytest.mark.parametrize(("width", "height"), [(360, 780), (1280, 800)])
async def test_every_page_is_accessible_and_fits(
    chromium: Browser, at: str, width: int, height: int
) -> None:
    page, complaints = await opened(chromium, width, height)
    for path in PATHS:
        await page.goto(at + path)
        found = await Axe().run(page)
        assert found.violations_count == 0, f"{path}: {found.generate_report()}"
        names = await page.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
        assert len(names) == len(set(names)), path
        assert await page.evaluate("document.documentElement.scrollWidth") <= width, path
    # The browser says of a page of an error that it is one; nothing else is to be said.
    assert all("status of 40" in each for each in complaints), complaints


@pytest.mark.parametrize(("width", "height"), [(360, 780), (1280, 800)])
async def test_a_voucher_is_accessible_fits_and_can_be_printed(
    chromium: Browser, at: str, world: World, width: int, height: int
) -> None:
    await with_voucher(world)
    page, complaints = await opened(chromium, width, height)
    for has_copy in (False, True):
        if has_copy:
            await rendered(world)
        await page.goto(at + VOUCHER)
        assert (await Axe().run(page)).violations_count == 0
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
    shown = await page.evaluate("[...document.images].map(one => one.naturalWidth)")
    assert shown == [1240, 1240]
    assert complaints == []
    assert (await page.pdf()).startswith(b"%PDF-")


async def test_millions_fit_on_a_phone(chromium: Browser, at: str, world: World) -> None:
    await world.line("f1", 123_456_789_012, TODAY, category="公共秩序维护与消防设施运行费用" * 3)
    await world.line("f1", -98_765_432_101, TODAY)
    page, _ = await opened(chromium, 360, 780)
    for path in ("/funds/f1", "/funds/f1/lines", "/funds/f1/lines/5"):
        await page.goto(at + path)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360, path


async def test_an_owner_finds_a_line_and_proves_it(
    chromium: Browser, at: str, tmp_path: Path
) -> None:
    page, complaints = await opened(chromium, 390, 844)
    await page.goto(at)
    await page.get_by_label("小区或基金名称").fill("示例")
    await page.get_by_role("button", name="查找").click()
    await page.get_by_role("link", name="示例").click()
    await page.get_by_role("link", name="逐笔明细").click()
    await page.get_by_label("起始日").fill("2026-11-20")
    await page.get_by_role("button", name="筛选").click()
    assert "from=2026-11-20" in page.url
    await page.get_by_role("link", name="3", exact=True).click()
    async with page.expect_download() as download:
        await page.get_by_role("link", name="下载证明文件").click()
    saved = tmp_path / "line.tlog-proof"
    await (await download.value).save_as(saved)
    await page.get_by_role("link", name="打开核验页").click()
    await page.get_by_label("证明文件").set_input_files(saved)

    await expect(page.get_by_role("status")).to_contain_text("成立")
    await expect(page.locator("#facts")).to_contain_text("支出 Paid1,234.56 元")
    assert complaints == []


async def test_a_page_can_be_printed(chromium: Browser, at: str) -> None:
    page, _ = await opened(chromium, 1280, 800)
    await page.goto(f"{at}/funds/f1/lines?from=2026-11-20")
    await page.emulate_media(media="print")
    # The form is gone; whose book it is and what was chosen of it must stand there all the same.
    assert await page.get_by_text("示例 · 示例").is_visible()
    assert await page.get_by_text("筛选：").is_visible()
    assert not await page.get_by_role("button", name="筛选").is_visible()
    assert await page.get_by_text("-1,234.56").is_visible()
    assert (await page.pdf()).startswith(b"%PDF-")
