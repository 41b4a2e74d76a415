"""The public pages over HTTP: the funds, the book of each, its lines and their proofs."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from gateway.clock import bank_date
from gateway.console.answer import FRESH, answering, failed, marked, page, refused
from gateway.console.asked import (
    BOOKS,
    PAGE_LINES,
    STATES,
    asked_lines,
    asked_period,
    language_of,
    number_of,
)
from gateway.console.shown import (
    BOOK_NAMES,
    STATE_NAMES,
    shown_books,
    shown_item,
    shown_line,
    shown_night,
    shown_question,
    shown_rendition,
    shown_share,
)
from gateway.disclosure.certificates import list_certificates, prove_certificate
from gateway.disclosure.detail import is_lump_sum, items_of_lines
from gateway.disclosure.group import group_summary
from gateway.disclosure.lines import get_line, get_voucher, list_lines
from gateway.disclosure.proof_file import SUFFIX
from gateway.disclosure.proving import fund_checkpoint, prove_line
from gateway.disclosure.renditions import find_rendition, rendition_page
from gateway.disclosure.summary import fund_summary
from gateway.domain.errors import GatewayError, Reason, not_found
from gateway.duties.rules import versions_of
from gateway.questions.listing import QuestionFilter, list_questions
from gateway.store import GATEWAY
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncConnection
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Scope

    from gateway.clock import Clock
    from gateway.disclosure.proof_file import Keys
    from gateway.disclosure.publisher import Publisher
    from gateway.store import Row, Store

FUNDS_A_PAGE: Final = 100
NIGHTS_A_PAGE: Final = 31
QUESTIONS_SHOWN: Final = 100
"""Of one line, the newest."""

_VOUCHER: Final = "/funds/{fund}/lines/{line}/vouchers/{voucher}"
"""Below a line, because a voucher that no disclosed line has is not public."""

_FOR_EVER: Final = "public, max-age=31536000, immutable"

_PATIENCE: Final = sa.text("SET LOCAL statement_timeout = '5s'")
"""A reader waits no longer, and none holds a connection for longer."""


def public_pages(store: Store, clock: Clock, publisher: Publisher) -> Starlette:
    """The pages, and beside them the files of the logs.

    Args:
        store: the database, over connections that no call waits for.
        clock: the present moment.
        publisher: whose logs are shown, and who knows whether they are whole.
    """
    pages = Pages(store, clock, publisher)
    publisher.directory.mkdir(parents=True, exist_ok=True)
    static = PlainFiles(packages=[("gateway.console", "static")])
    routes = [
        Route("/", answering(pages.funds)),
        Route("/funds/{fund}", answering(pages.fund)),
        Route("/funds/{fund}/lines", answering(pages.lines)),
        Route("/funds/{fund}/lines/{line}", answering(pages.line)),
        Route("/funds/{fund}/lines/{line}/proof", answering(pages.proof)),
        Route(_VOUCHER, answering(pages.voucher)),
        Route(f"{_VOUCHER}/pages/{{page}}", answering(pages.voucher_page)),
        Route("/funds/{fund}/nights", answering(pages.nights)),
        Route("/funds/{fund}/nights/{night}/proof", answering(pages.night_proof)),
        Route("/groups/{group}", answering(pages.group)),
        Mount("/static", static),
        Mount("/log", PlainFiles(directory=publisher.directory)),
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: _no_page, Exception: failed})


class PlainFiles(StaticFiles):
    """Files as they lie: a log's tile or bundle never changes, all else may at any moment."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file, with what a cache may do with it."""
        answer = await super().get_response(path, scope)
        lasts = "/tile/" in f"/{path}"
        answer.headers["Cache-Control"] = _FOR_EVER if lasts else FRESH
        answer.headers["X-Content-Type-Options"] = "nosniff"
        return answer


@dataclass(frozen=True, slots=True)
class Pages:
    """What answers each address.

    Attributes:
        store: the database.
        clock: the present moment.
        publisher: knows whether what is shown may be believed.
    """

    store: Store
    clock: Clock
    publisher: Publisher

    async def funds(self, request: Request) -> Response:
        """Every fund by name, or those whose estate or own name has a word in it."""
        word, after = request.query_params.get("q", "")[:64], request.query_params.get("after", "")
        async with self._reading() as conn:
            rows = (await conn.execute(_funds(word, after))).all()
        more = rows[FUNDS_A_PAGE - 1].fund_id if len(rows) > FUNDS_A_PAGE else ""
        return page(request, "funds.html", funds=rows[:FUNDS_A_PAGE], word=word, more=more)

    async def fund(self, request: Request) -> Response:
        """Both books over a period."""
        query = request.query_params
        period, language = asked_period(query, self.clock()), language_of(query)
        async with self._reading() as conn:
            fund = await _fund(conn, request)
            summary = await fund_summary(conn, fund.fund_id, period)
            checkpoint = await _checkpoint(conn, fund.fund_id)
        books = shown_books(summary, language)
        return page(
            request,
            "fund.html",
            fund=fund,
            period=period,
            books=books,
            checkpoint=checkpoint,
            page_lines=PAGE_LINES,
        )

    async def group(self, request: Request) -> Response:
        """Each fund of a group of estates over a period, and all of them added up."""
        query = request.query_params
        period, language = asked_period(query, self.clock()), language_of(query)
        group = request.path_params["group"]
        async with self._reading() as conn:
            found = await group_summary(conn, group, period)
            versions = await versions_of(conn, [fund.fund_id for fund in found.funds])
        return page(
            request,
            "group.html",
            group=group,
            period=period,
            funds=[
                (fund.fund_id, fund.estate, shown_books(fund.summary, language))
                for fund in found.funds
            ],
            shares=[
                (fund.estate, shown_share(share, rules.version, language))
                for fund in found.funds
                for _, rules in versions.get(fund.fund_id, ())[-1:]
                if (share := rules.share) is not None
            ],
            totals=[(total.currency, shown_books(total, language)) for total in found.totals],
        )

    async def lines(self, request: Request) -> Response:
        """Lines by number, those that were asked for."""
        language = language_of(request.query_params)
        asked = asked_lines(request.path_params["fund"], request.query_params)
        async with self._reading() as conn:
            fund = await _fund(conn, request)
            rows = await list_lines(conn, asked.chosen, asked.after, PAGE_LINES + 1)
        lines = [shown_line(row, language) for row in rows[:PAGE_LINES]]
        more = asked.behind(rows[PAGE_LINES - 1].line_number) if len(rows) > PAGE_LINES else None
        return page(
            request,
            "lines.html",
            fund=fund,
            lines=lines,
            asked=asked.given,
            more=more,
            books={key: BOOK_NAMES[key] for key in BOOKS},
            states={key: STATE_NAMES[key] for key in STATES},
        )

    async def line(self, request: Request) -> Response:
        """Everything of one line."""
        language = language_of(request.query_params)
        async with self._reading() as conn:
            fund = await _fund(conn, request)
            row = await get_line(conn, fund.fund_id, _number(request))
            items = await items_of_lines(conn, fund.fund_id, [row.line_number])
            about = QuestionFilter(fund.fund_id, (fund.fund_id, row.line_number))
            today = bank_date(self.clock())
            questions = await list_questions(conn, about, "", QUESTIONS_SHOWN, today)
        parts = items.get(row.line_number, ())
        return page(
            request,
            "line.html",
            fund=fund,
            shown=shown_line(row, language),
            items=[shown_item(each, row.currency) for each in parts],
            lacks_detail=is_lump_sum(row, parts),
            questions=[shown_question(each, language) for each in questions],
        )

    async def proof(self, request: Request) -> Response:
        """The file that proves a line, to be saved."""
        fund_id, number = request.path_params["fund"], _number(request)
        async with self._reading() as conn:
            proof = await prove_line(conn, fund_id, number, self.publisher.witness_keys)
        return _saved(request, proof, f"{fund_id}-{number}")

    async def nights(self, request: Request) -> Response:
        """What the bank moved night by night, and that lines stand for it."""
        given = request.query_params.get("before", "")
        before = number_of(given, "before") if given else None
        language = language_of(request.query_params)
        async with self._reading() as conn:
            fund = await _fund(conn, request)
            rows = await list_certificates(conn, fund.fund_id, before, NIGHTS_A_PAGE + 1)
        nights = [shown_night(row.entry, language) for row in rows[:NIGHTS_A_PAGE]]
        more = nights[-1].number if len(rows) > NIGHTS_A_PAGE else ""
        return page(request, "nights.html", fund=fund, nights=nights, more=more)

    async def night_proof(self, request: Request) -> Response:
        """The file that proves a night, to be saved."""
        fund_id = request.path_params["fund"]
        number = number_of(request.path_params["night"], "night")
        async with self._reading() as conn:
            proof = await prove_certificate(conn, fund_id, number, self.publisher.witness_keys)
        return _saved(request, proof, f"{fund_id}-night-{number}")

    async def voucher(self, request: Request) -> Response:
        """What everybody may see of a voucher of a line, and the hash that the log commits to."""
        language = language_of(request.query_params)
        async with self._reading() as conn:
            fund = await _fund(conn, request)
            voucher = await _voucher(conn, request)
            rendition = await find_rendition(conn, fund.fund_id, voucher.sha256)
        return page(
            request,
            "voucher.html",
            fund=fund,
            number=_number(request),
            voucher=voucher,
            copy=None if rendition is None else shown_rendition(rendition, language),
        )

    async def voucher_page(self, request: Request) -> Response:
        """The picture of a page of a voucher, in its newest public copy."""
        async with self._reading() as conn:
            voucher = await _voucher(conn, request)
            rendition = await find_rendition(conn, voucher.fund_id, voucher.sha256)
            if rendition is None or request.path_params["page"] not in _pages(rendition):
                raise not_found(request.url.path)
            picture = await rendition_page(conn, rendition, int(request.path_params["page"]))
        return marked(request, picture, rendition.media_type)

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        self.publisher.require_whole()
        async with self.store.snapshot(GATEWAY) as conn:
            await conn.execute(_PATIENCE)
            yield conn


def _saved(request: Request, proof: str, name: str) -> Response:
    """A proof that the browser offers to save."""
    answer = marked(request, proof.encode(), "application/octet-stream")
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}{SUFFIX}"'
    return answer


async def _no_page(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == 405:  # noqa: PLR2004 - of HTTP
        return page(request, "error.html", 405, code=405, error=None, faults=[])
    return refused(request, not_found(request.url.path))


async def _fund(conn: AsyncConnection, request: Request) -> Row:
    fund_id = request.path_params["fund"]
    row = (await conn.execute(_named().where(t.funds.c.fund_id == fund_id))).one_or_none()
    if row is None:
        raise not_found(f"funds/{fund_id}")
    return row


async def _voucher(conn: AsyncConnection, request: Request) -> Row:
    """A voucher of a line, without its bytes."""
    line = await get_line(conn, request.path_params["fund"], _number(request))
    sha256 = request.path_params["voucher"]
    if sha256 not in line.vouchers:
        raise not_found(request.url.path)
    return await get_voucher(conn, line.fund_id, sha256)


def _pages(rendition: Row) -> set[str]:
    """The numbers of its pages, as addresses have them."""
    return {str(number) for number in range(1, len(rendition.page_sizes) + 1)}


def _named() -> sa.Select[tuple[str, str, int, str, str]]:
    fund = t.funds.c
    return sa.select(
        fund.fund_id,
        fund.display_name,
        fund.last_line_number,
        t.estates.c.display_name.label("estate"),
        t.estates.c.group_name,
    ).join_from(t.funds, t.estates, t.funds.c.estate_id == t.estates.c.estate_id)


def _funds(word: str, after: str) -> sa.Select[tuple[str, str, int, str, str]]:
    found = _named().where(t.funds.c.fund_id > after)
    if word:
        names = (t.funds.c.display_name, t.estates.c.display_name, t.funds.c.fund_id)
        found = found.where(sa.or_(*(name.icontains(word, autoescape=True) for name in names)))
    return found.order_by(t.funds.c.fund_id).limit(FUNDS_A_PAGE + 1)


def _number(request: Request) -> int:
    return number_of(request.path_params["line"], "line")


async def _checkpoint(conn: AsyncConnection, fund_id: str) -> tuple[str, Keys] | None:
    """The log's last signed tree with its keys; None before its first line."""
    try:
        return await fund_checkpoint(conn, fund_id)
    except GatewayError as error:
        if error.reason is Reason.NOT_LOGGED:
            return None
        raise
