"""How a page leaves: rendered, marked by its content, and locked into what it brought along."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import Response

from gateway.console.asked import address, language_of
from gateway.domain.errors import GatewayError, Kind, Reason, not_found

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from gateway.domain.describe import Language

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self';"
        " base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""Of every page: it runs nothing, loads nothing of others, and tells nobody who reads it."""

FRESH: Final = "public, no-cache"
"""Anybody may keep it, and asks before it is shown again: the common answer is 304."""

_RETRY_AFTER_S: Final = "60"

_STATUS: Final = {
    Kind.INVALID: 400,
    Kind.NOT_FOUND: 404,
    Kind.PRECONDITION: 409,
    Kind.UNAVAILABLE: 503,
}
_FIELDS: Final = {
    "book": ("账簿", "Book"),
    "from": ("起始日", "From"),
    "to": ("截止日", "To"),
    "state": ("状态", "State"),
    "disclosed_by": ("回看日", "As disclosed on"),
    "after": ("页码", "Page"),
    "months": ("月份", "Months"),
    "line": ("行号", "Line"),
    "night": ("夜次", "Night"),
    "before": ("页码", "Page"),
}

_WANTED_ZH: Final = {
    "is no day as in 2026-11-23": "应写成日期，如 2026-11-23",
    "is no month as in 2026-10": "应写成月份，如 2026-10",
    "must be 1 to 120 months, the first one first": "起始月不得晚于截止月，最多 120 个月",
    "must not be before the first day": "不得早于起始日",
    "cannot be asked of a past day": "回看过去的某一天时不能选状态",
    "is no number as in 12": "应为编号，如 12",
}
"""What a part of an address should be, by the English of it."""

_templates: Final = Environment(
    loader=PackageLoader("gateway.console"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(request: Request, template: str, status: int = 200, **shown: Any) -> Response:  # noqa: ANN401 - what the template shows
    """A page in the reader's language, or 304 where the reader has it already."""
    query = dict(request.query_params)
    language = language_of(query)
    other: Language = "en" if language == "zh" else "zh"
    plain = {name: value for name, value in query.items() if name != "lang"}
    body = _templates.get_template(template).render(
        language=language,
        say=lambda zh, en: zh if language == "zh" else en,
        link=lambda path, **given: address(path, language, given),
        path=request.url.path,
        other=address(request.url.path, other, plain),
        **shown,
    )
    return marked(request, body.encode(), "text/html; charset=utf-8", status)


def marked(request: Request, body: bytes, media_type: str, status: int = 200) -> Response:
    """Content under the tag that it alone has (RFC 9110, 8.8.3)."""
    tag = f'"{sha256(body).hexdigest()[:32]}"'
    headers = {**HEADERS, "Cache-Control": FRESH if status == 200 else "no-store"}  # noqa: PLR2004 - OK
    if status == 200:  # noqa: PLR2004 - as above
        headers["ETag"] = tag
        if _has(request.headers.get("if-none-match", ""), tag):
            return Response(status_code=304, headers=headers)
    return Response(body, status, headers, media_type)


def _has(said: str, tag: str) -> bool:
    known = {each.strip().removeprefix("W/") for each in said.split(",")}
    return tag in known or "*" in known


def answering(handler: Callable[[Request], Awaitable[Response]]) -> Callable[..., Any]:
    """The handler, with every refusal as a page that says what to do."""

    async def answered(request: Request) -> Response:
        try:
            _require_text(request)
            return await handler(request)
        except GatewayError as error:
            return refused(request, error)
        except (sa.exc.DBAPIError, sa.exc.TimeoutError, OSError):
            message = "the database does not answer"
            return refused(
                request, GatewayError(Kind.UNAVAILABLE, Reason.STORE_UNAVAILABLE, message)
            )

    return answered


def _require_text(request: Request) -> None:
    """Passes unless the address holds what no text of the database can."""
    said = (*request.path_params.values(), *request.query_params.values())
    if any("\0" in text for text in said):
        raise not_found("the address")


async def failed(request: Request, _: Exception) -> Response:
    """The page of a defect; what it was is in the log."""
    return page(request, "error.html", 500, code=500, error=None, faults=[])


def refused(request: Request, error: GatewayError) -> Response:
    """The page of a refusal."""
    status = _STATUS.get(error.kind, 500)
    faults = [
        (
            _FIELDS.get(each.field, (each.field,) * 2),
            (_WANTED_ZH.get(each.description, "不是可选的值"), each.description),
        )
        for each in error.violations
    ]
    answer = page(request, "error.html", status, code=status, error=error, faults=faults)
    if error.kind is Kind.UNAVAILABLE:
        answer.headers["Retry-After"] = _RETRY_AFTER_S
    return answer
