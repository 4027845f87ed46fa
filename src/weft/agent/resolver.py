"""The process that answers DNS inside captured namespaces: one per host, apart from the agent so that it outlives it.

It receives the sockets that ``enter`` bound inside each namespace (SCM_RIGHTS over ``resolver.sock``) and answers from
the file of names that the agent keeps fresh. Standard library only, one thread, everything bounded: it must stay small.

On ``resolver.sock`` (SOCK_SEQPACKET, same user only) one JSON object per message:
``{"add": {"workload": ..., "namespace": ...}}`` with two descriptors, or ``{"keep": [workload, ...]}``, which closes
the sockets of every other workload. Both are answered with ``{"have": [workload, ...]}``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import selectors
import signal
import socket
import struct
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from weft import private
from weft.agent import dns

if TYPE_CHECKING:
    from collections.abc import Callable

FORWARDS: Final = 256
"""Questions under way to the machine's own resolver; beyond them the answer is SERVFAIL."""

CLIENTS: Final = 128
"""Open TCP connections; beyond them new ones are closed at once."""

FORWARD_SECONDS: Final = 5.0
IDLE_SECONDS: Final = 10.0
BURST: Final = 64
"""Messages read from one socket before the others get their turn."""


class Forwarded:
    """One question under way: a socket of its own with a random port, so that nobody can guess where to answer."""

    def __init__(self, message: bytes, answer: Callable[[bytes], None], until: float) -> None:
        self.message = message
        self.answer = answer
        self.until = until


class Resolver:
    def __init__(self, path: str, names: Path, resolv_conf: Path) -> None:
        self._selector = selectors.DefaultSelector()
        self._names_path = names
        self._names_seen: tuple[int, int] | None = None
        self._names = dns.Names()
        self._machine_path = resolv_conf
        self._machine_seen: tuple[int, int] | None = None
        self._machine = dns.Machine()
        self._workloads: dict[str, tuple[socket.socket, socket.socket]] = {}
        self._forwards: dict[socket.socket, Forwarded] = {}
        self._clients: dict[socket.socket, tuple[bytearray, str, float]] = {}
        self._running = True
        self._listen(path)

    def _listen(self, path: str) -> None:
        listener = private.listen(Path(path), kind=socket.SOCK_SEQPACKET)
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, self._accept_agent)

    def run(self) -> None:
        while self._running:
            busy = bool(self._forwards or self._clients)
            for key, _ in self._selector.select(1.0 if busy else None):
                key.data(key.fileobj)
            self._expire(time.monotonic())

    def stop(self) -> None:
        self._running = False

    def wakeup(self) -> int:
        """A descriptor that makes ``run`` look around when something is written to it."""
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(reading, selectors.EVENT_READ, lambda _: None)
        return writing

    # names

    def _fresh(self) -> None:
        """Read what has changed on disk since the last question."""
        if (seen := _stamp(self._names_path)) != self._names_seen and seen is not None:
            try:
                said = json.loads(self._names_path.read_bytes())
                self._names = dns.Names(said["services"], said["hosts"], said["outboundTraffic"] == "allowAny")
            except (OSError, ValueError, KeyError, TypeError) as error:
                print(f"names: {error!r}; the ones before stay", file=sys.stderr, flush=True)  # noqa: T201 - its log
            self._names_seen = seen
        if (seen := _stamp(self._machine_path)) != self._machine_seen:
            text = self._machine_path.read_text(encoding="utf-8", errors="replace") if seen else ""
            self._machine = dns.parse_resolv_conf(text, socket.gethostname())
            self._machine_seen = seen

    def _handle(self, message: bytes, namespace: str, send: Callable[[bytes], None]) -> None:
        self._fresh()
        answer = dns.answer(message, namespace, self._names, self._machine)
        if isinstance(answer, dns.Forward):
            self._forward(message, send)
        elif answer is not None:
            send(answer)

    # questions

    def _datagrams(self, source: socket.socket, namespace: str) -> None:
        for _ in range(BURST):
            try:
                message, peer = source.recvfrom(dns.MESSAGE_LIMIT + 1)
            except OSError:
                return
            self._handle(message, namespace, partial(_send_to, source, peer))

    def _accept_client(self, listener: socket.socket, namespace: str) -> None:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        if len(self._clients) >= CLIENTS:
            client.close()
            return
        client.setblocking(False)
        self._clients[client] = (bytearray(), namespace, time.monotonic() + IDLE_SECONDS)
        self._selector.register(client, selectors.EVENT_READ, self._stream)

    def _stream(self, client: socket.socket) -> None:
        buffer, namespace, _ = self._clients[client]
        try:
            data = client.recv(dns.MESSAGE_LIMIT)
        except OSError:
            data = b""
        if not data:
            self._drop(client)
            return
        buffer += data
        while len(buffer) >= 2:
            length = struct.unpack_from(">H", buffer)[0]
            if length > dns.MESSAGE_LIMIT:
                self._drop(client)
                return
            if len(buffer) < length + 2:
                break
            message = bytes(buffer[2 : 2 + length])
            del buffer[: 2 + length]
            self._handle(message, namespace, partial(_send_framed, client))
        self._clients[client] = (buffer, namespace, time.monotonic() + IDLE_SECONDS)

    def _drop(self, client: socket.socket) -> None:
        self._clients.pop(client, None)
        self._selector.unregister(client)
        client.close()

    # the machine's own resolver

    def _forward(self, message: bytes, send: Callable[[bytes], None]) -> None:
        servers = dns.name_servers(self._machine)
        asked = dns.question(message)
        if len(self._forwards) >= FORWARDS or not servers:
            send(dns.reply(message, asked, dns.SERVER_FAILURE))
            return
        family, address = servers[0]
        upstream = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            upstream.connect(address)
            upstream.send(message)
        except OSError:
            upstream.close()
            send(dns.reply(message, asked, dns.SERVER_FAILURE))
            return
        self._forwards[upstream] = Forwarded(message, send, time.monotonic() + FORWARD_SECONDS)
        self._selector.register(upstream, selectors.EVENT_READ, self._forwarded)

    def _forwarded(self, upstream: socket.socket) -> None:
        waiting = self._forwards[upstream]
        try:
            answer = upstream.recv(65535)
        except OSError:
            answer = dns.reply(waiting.message, dns.question(waiting.message), dns.SERVER_FAILURE)
        if answer[:2] != waiting.message[:2]:
            return  # not the answer to this question; the right one may still come
        self._finish(upstream)
        waiting.answer(answer)

    def _finish(self, upstream: socket.socket) -> None:
        del self._forwards[upstream]
        self._selector.unregister(upstream)
        upstream.close()

    def _expire(self, now: float) -> None:
        for upstream, waiting in list(self._forwards.items()):
            if waiting.until < now:
                self._finish(upstream)
                waiting.answer(dns.reply(waiting.message, dns.question(waiting.message), dns.SERVER_FAILURE))
        for client, (_, _, until) in list(self._clients.items()):
            if until < now:
                self._drop(client)

    # the agent and its helpers

    def _accept_agent(self, listener: socket.socket) -> None:
        try:
            peer, _ = listener.accept()
        except OSError:
            return
        if private.peer(peer).uid not in (os.geteuid(), 0):
            peer.close()
            return
        peer.setblocking(False)
        self._selector.register(peer, selectors.EVENT_READ, self._order)

    def _order(self, peer: socket.socket) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(peer, 1 << 16, 2)
            if not data:
                raise ConnectionError
            said = json.loads(data)
            if (label := said.get("add")) is not None:
                self._add(label, [socket.socket(fileno=descriptor) for descriptor in descriptors])
            elif (keep := said.get("keep")) is not None:
                for workload in set(self._workloads) - set(keep):
                    self._remove(workload)
            peer.send(json.dumps({"have": sorted(self._workloads)}).encode())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self._selector.unregister(peer)
            peer.close()

    def _add(self, label: dict[str, str], sockets: list[socket.socket]) -> None:
        workload, namespace = label["workload"], label["namespace"]
        datagrams, streams = sockets
        self._remove(workload)
        self._workloads[workload] = (datagrams, streams)
        for one in sockets:
            one.setblocking(False)
        self._selector.register(datagrams, selectors.EVENT_READ, lambda source: self._datagrams(source, namespace))
        self._selector.register(
            streams, selectors.EVENT_READ, lambda listener: self._accept_client(listener, namespace)
        )

    def _remove(self, workload: str) -> None:
        # An open socket keeps its namespace alive, so that of a stopped workload must not stay.
        for one in self._workloads.pop(workload, ()):
            self._selector.unregister(one)
            one.close()


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def _send_to(source: socket.socket, peer: tuple[str, int], answer: bytes) -> None:
    with contextlib.suppress(OSError):  # a datagram may be lost; who asked asks again
        source.sendto(answer, peer)


def _send_framed(client: socket.socket, answer: bytes) -> None:
    with contextlib.suppress(OSError):  # the client has gone; its socket says so when it is read
        client.send(struct.pack(">H", len(answer)) + answer)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="weft-resolver")
    parser.add_argument("--socket", required=True)
    parser.add_argument("--names", required=True, type=Path)
    parser.add_argument("--resolv-conf", default=Path("/etc/resolv.conf"), type=Path)
    chosen = parser.parse_args(arguments)
    resolver = Resolver(chosen.socket, chosen.names, chosen.resolv_conf)
    signal.signal(signal.SIGTERM, lambda _number, _frame: resolver.stop())
    # A signal handler only sets a flag; this makes select() return so that the flag is seen.
    signal.set_wakeup_fd(resolver.wakeup())
    resolver.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
