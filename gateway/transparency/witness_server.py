"""The witness over HTTP, as https://c2sp.org/tlog-witness wants it.

Behind TLS of a web server of the supervisor's, or within a network of its own: what it answers is
signed, and what it is asked must be.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from time import time
from typing import TYPE_CHECKING, Final

import structlog
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from gateway.transparency.witness import MAX_REQUEST_BYTES, RefusalError, Witness

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

_SIZE_TYPE: Final = "text/x.tlog.size"

logger = structlog.get_logger(__name__)


def witness_app(witness: Witness, clock: Callable[[], float] = time) -> Starlette:
    """The web application of a witness.

    ``POST /add-checkpoint`` cosigns; ``GET /checkpoint/{origin}`` shows what was cosigned last.
    """

    async def add_checkpoint(request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MAX_REQUEST_BYTES:
                return _plain(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too long\n")
        try:
            line = await asyncio.to_thread(witness.cosign, body.decode(), int(clock()))
        except UnicodeDecodeError:
            return _plain(HTTPStatus.BAD_REQUEST, "no UTF-8\n")
        except RefusalError as refusal:
            logger.warning("refused", status=int(refusal.status), why=refusal.why)
            is_size = refusal.status is HTTPStatus.CONFLICT
            return _plain(refusal.status, f"{refusal.why}\n", _SIZE_TYPE if is_size else None)
        logger.info("cosigned")
        return _plain(HTTPStatus.OK, line)

    async def checkpoint(request: Request) -> Response:
        note = await asyncio.to_thread(witness.latest, request.path_params["origin"])
        return _plain(HTTPStatus.OK if note else HTTPStatus.NOT_FOUND, note or "none\n")

    return Starlette(
        routes=[
            Route("/add-checkpoint", add_checkpoint, methods=["POST"]),
            Route("/checkpoint/{origin:path}", checkpoint),
        ]
    )


def _plain(status: HTTPStatus, text: str, media_type: str | None = None) -> Response:
    return PlainTextResponse(text, int(status), media_type=media_type)
