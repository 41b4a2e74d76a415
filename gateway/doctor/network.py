"""The gateway's addresses: free for it, or answered by it."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import TYPE_CHECKING, Final

import httpx

from gateway.doctor.finding import fail, ok

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gateway.doctor.finding import Finding
    from gateway.settings import Settings

_PATIENCE_S: Final = 3.0


def examine(settings: Settings) -> Iterator[Finding]:
    """Where calls are answered, where monitors are, and where the book is read."""
    yield _address("listen", settings.listen, lambda: _is_ours(settings))
    if settings.metrics_listen:
        yield _address("metrics_listen", settings.metrics_listen, lambda: _is_page(settings))
    if settings.public_listen:
        yield _address("public_listen", settings.public_listen, lambda: _is_book(settings))


def _address(check: str, address: str, answered: Callable[[], bool]) -> Finding:
    host, port = _parts(address)
    variable = f"XINYI_{check.upper()}"
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return _taken(check, address, variable, ours=answered())
        return fail(
            check,
            (f"{address} 不能使用：{error.strerror}", f"{address}: {error.strerror}"),
            (
                f"检查 {variable} 与本机地址、端口权限",
                f"look at {variable}, this machine's addresses, and who may use the port",
            ),
        )
    return ok(check, f"{address} 空闲", f"{address} is free")


def _taken(check: str, address: str, variable: str, *, ours: bool) -> Finding:
    if ours:
        return ok(check, f"{address} 有网关应答", f"a gateway answers at {address}")
    return fail(
        check,
        (
            f"{address} 被占用，应答者不是持本证书的网关",
            f"{address} is taken, and who answers is no gateway with this certificate",
        ),
        (
            f"停止占用者、改 {variable}，或证书更换后重启网关",
            f"stop it, change {variable}, or restart a gateway whose certificate was replaced",
        ),
    )


def _is_ours(settings: Settings) -> bool:
    """Whether the server there shows our certificate; it needs none of ours for that."""
    try:
        shown = ssl.get_server_certificate(_parts(settings.listen), timeout=_PATIENCE_S)
        return ssl.PEM_cert_to_DER_cert(shown) == _first_certificate(settings.tls_certificate)
    except (OSError, ValueError):
        return False


def _first_certificate(path: Path) -> bytes:
    end = ssl.PEM_FOOTER
    first, _, _ = path.read_text(encoding="ascii").partition(end)
    return ssl.PEM_cert_to_DER_cert(first + end)


def _is_page(settings: Settings) -> bool:
    try:
        answer = httpx.get(f"http://{settings.metrics_listen}/healthz", timeout=_PATIENCE_S)
    except httpx.HTTPError:
        return False
    return answer.status_code == httpx.codes.OK and answer.text.strip() == "alive"


def _is_book(settings: Settings) -> bool:
    try:
        answer = httpx.get(f"http://{settings.public_listen}/log/verify.html", timeout=_PATIENCE_S)
    except httpx.HTTPError:
        return False
    return answer.status_code == httpx.codes.OK


def _parts(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
