"""A lean load generator for unary gRPC calls over mutual TLS, run as a process of its own.

A Python gRPC client costs more than the server it measures; tools such as h2load send the same
body every time and show no client certificate. This one writes ready-made HTTP/2 frames and reads
no more of the answers than whether there was one: a call is answered if a message came, refused if
only trailers did. Each connection keeps so many calls open and sends the next when one ends.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import struct
import sys
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import uvloop

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_HEAD: Final = 9
_WIDE: Final = 2**31 - 1
_OPEN_WINDOW: Final = 65_535


class Connection(asyncio.Protocol):
    """One HTTP/2 connection that works through bodies, `depth` of them open at a time."""

    def __init__(self, path: str, bodies: Iterator[bytes], depth: int) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.latencies_ns: list[int] = []
        self.refused = 0
        self._bodies = bodies
        self._depth = depth
        self._block = _header_block(path)
        self._began: dict[int, int] = {}
        self._answered: set[int] = set()
        self._next_stream = 1
        self._window = _OPEN_WINDOW
        self._unread = bytearray()
        self._received = 0
        self._exhausted = False
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Opens the connection and the first calls."""
        self._transport = transport
        settings = struct.pack(">HI", 4, _WIDE)
        self._transport.write(
            _PREFACE
            + _frame(_SETTINGS, 0, 0, settings)
            + _frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", _WIDE - _OPEN_WINDOW))
        )
        self._send()

    def data_received(self, data: bytes) -> None:
        """Reads whole frames and answers each as the protocol wants."""
        self._unread += data
        start, unread = 0, self._unread
        while len(unread) - start >= _HEAD:
            length = int.from_bytes(unread[start : start + 3])
            end = start + _HEAD + length
            if len(unread) < end:
                break
            kind, flags = unread[start + 3], unread[start + 4]
            stream = int.from_bytes(unread[start + 5 : start + 9])
            self._take(kind, flags, stream, unread[start + _HEAD : end])
            start = end
        del unread[:start]
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        """Before its work is done, that is an error."""
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("closed by the server"))

    def _take(self, kind: int, flags: int, stream: int, payload: bytearray) -> None:
        if kind == _DATA:
            self._answered.add(stream)
            self._received += len(payload)
        elif kind == _SETTINGS and not flags & _ACK:
            self._transport.write(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            self._transport.write(_frame(_PING, _ACK, 0, bytes(payload)))
        elif kind == _WINDOW_UPDATE and stream == 0:
            self._window += int.from_bytes(payload)
        elif kind == _GOAWAY:
            self.done.set_exception(ConnectionError(f"goaway: {bytes(payload)!r}"))
        if kind == _RST_STREAM or (kind in (_DATA, _HEADERS) and flags & _END_STREAM):
            self._end(stream)

    def _end(self, stream: int) -> None:
        began = self._began.pop(stream, None)
        if began is None:
            return
        self.latencies_ns.append(time.perf_counter_ns() - began)
        if stream in self._answered:
            self._answered.remove(stream)
        else:
            self.refused += 1

    def _send(self) -> None:
        """Opens as many calls as may be open."""
        frames = []
        while self._may_open():
            body = next(self._bodies, None)
            if body is None:
                self._exhausted = True
                break
            stream, self._next_stream = self._next_stream, self._next_stream + 2
            self._window -= len(body)
            frames.append(_frame(_HEADERS, _END_HEADERS, stream, self._block))
            frames.append(_frame(_DATA, _END_STREAM, stream, body))
            self._began[stream] = time.perf_counter_ns()
        if self._received > 1 << 20:
            frames.append(_frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", self._received)))
            self._received = 0
        if frames:
            self._transport.write(b"".join(frames))
        if self._exhausted and not self._began and not self.done.done():
            self.done.set_result(None)

    def _may_open(self) -> bool:
        is_free = len(self._began) < self._depth
        return is_free and not self._exhausted and self._window > _OPEN_WINDOW // 4


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload) << 8 | kind) + struct.pack(">BI", flags, stream) + payload


def _header_block(path: str) -> bytes:
    """The request's headers (RFC 7541): no compression that would need a state."""
    plain = (
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("grpc-timeout", "20S"),
    )
    literal = b"".join(
        b"\x00" + _text(name) + _text(value) for name, value in (*plain, ("te", "trailers"))
    )
    return b"\x83\x87" + literal  # :method POST, :scheme https


def _text(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def message(body: bytes) -> bytes:
    """A gRPC message: not compressed, and its length."""
    return b"\x00" + struct.pack(">I", len(body)) + body


def write_bodies(path: Path, bodies: Sequence[bytes]) -> None:
    """Puts requests into a file that the generator reads before it begins."""
    path.write_bytes(b"".join(struct.pack(">I", len(body)) + body for body in bodies))


def _read_bodies(path: Path) -> deque[bytes]:
    content, start, bodies = path.read_bytes(), 0, deque[bytes]()
    while start < len(content):
        end = start + 4 + int.from_bytes(content[start : start + 4])
        bodies.append(message(content[start + 4 : end]))
        start = end
    return bodies


async def run(chosen: argparse.Namespace) -> dict[str, Any]:
    """Sends every request once and says how it went."""
    tls = ssl.create_default_context(cafile=chosen.ca)
    tls.load_cert_chain(chosen.certificate, chosen.key)
    tls.set_alpn_protocols(["h2"])
    bodies = _read_bodies(chosen.bodies)
    shared = _until_empty(bodies)
    loop = asyncio.get_running_loop()
    began, cpu = time.perf_counter(), time.process_time()
    connections = []
    for _ in range(chosen.connections):
        depth = chosen.open // chosen.connections
        _, connection = await loop.create_connection(
            lambda depth=depth: Connection(chosen.path, shared, depth),  # type: ignore[misc]
            "127.0.0.1",
            chosen.port,
            ssl=tls,
            server_hostname="localhost",
        )
        connections.append(connection)
    await asyncio.gather(*(connection.done for connection in connections))
    elapsed_s = time.perf_counter() - began
    latencies = sorted(ns for each in connections for ns in each.latencies_ns)
    return {
        "calls": len(latencies),
        "refused": sum(each.refused for each in connections),
        "seconds": elapsed_s,
        "cpu_seconds": time.process_time() - cpu,
        "per_s": len(latencies) / elapsed_s,
        "p50_ms": latencies[len(latencies) // 2] / 1e6,
        "p99_ms": latencies[len(latencies) * 99 // 100] / 1e6,
    }


def _until_empty(bodies: deque[bytes]) -> Iterator[bytes]:
    while bodies:
        yield bodies.popleft()


def main() -> None:
    """Run the load that the command line describes, and print what came of it as JSON."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--port", type=int, required=True)
    arguments.add_argument("--path", required=True, help="full method name")
    arguments.add_argument("--bodies", type=Path, required=True)
    arguments.add_argument("--ca", required=True)
    arguments.add_argument("--certificate", required=True)
    arguments.add_argument("--key", required=True)
    arguments.add_argument("--open", type=int, default=64, help="calls open at a time")
    arguments.add_argument("--connections", type=int, default=4)
    chosen = arguments.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        json.dump(runner.run(run(chosen)), sys.stdout)


if __name__ == "__main__":
    main()
