"""The HTTP side: GET /metrics for Prometheus, and a page with a link to it. On the loopback unless told otherwise."""

import errno
import selectors
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

from prometheus_client import CollectorRegistry, MetricsHandler

from infer_opt.errors import ConfigError, UnavailableError
from infer_opt.prometheus.collecting import SampleCollector
from infer_opt.readings.findings import AlertEvent, Finding
from infer_opt.readings.samples import Sample

LOOPBACK = "127.0.0.1"
SLOWEST_CLIENT_S = 10.0

_PAGE = b"""<!doctype html><html lang="en"><meta charset="utf-8"><title>infer-opt</title>
<h1>infer-opt</h1><p>Readings of this machine for Prometheus: <a href="/metrics">/metrics</a></p></html>
"""


def serve(
    port: int,
    *,
    host: str = LOOPBACK,
    latest: Callable[[], Sample | None],
    findings: Callable[[], Sequence[Finding]],
    alerts: Callable[[], Sequence[AlertEvent]],
    clock: Callable[[], float] = time.monotonic,
) -> "Endpoint":
    """Begin to serve at `port`, 0 for one that is free. The callables are called from other threads, at each scrape.

    `findings` and `alerts` give what is open and fires at that moment; `clock` is the samples' own.

    Raises:
        ConfigError: `port` is no port, or `host` no address of this machine.
        UnavailableError: the port is taken, or this user may not have it.
    """
    if not 0 <= port <= 65535:
        raise ConfigError(f"{port} is not a port", hint="a port is a number from 1 to 65535, or 0 for a free one")
    registry = CollectorRegistry(support_collectors_without_names=True)
    registry.register(SampleCollector(latest=latest, findings=findings, alerts=alerts, clock=clock))
    try:
        family, address = _resolve(host, port)
        return Endpoint(_Server(family, address, registry), host)
    except OSError as error:
        raise _why_not(error, host, port) from error


class Endpoint:
    """A server at work, in threads of its own."""

    def __init__(self, server: "_Server", host: str) -> None:
        self._server = server
        self._waker, self._woken = socket.socketpair()
        self.port: int = server.server_address[1]
        shown = {"": "localhost", "0.0.0.0": "localhost", "::": "localhost"}.get(host, host)  # noqa: S104 - not bound
        self.url = f"http://{f'[{shown}]' if ':' in shown else shown}:{self.port}/metrics"
        self._thread = threading.Thread(target=self._work, name="infer-opt-prometheus", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let go of the port. Safe to call twice."""
        if self._thread.is_alive():
            self._waker.send(b"x")
            self._thread.join()
        self._server.server_close()
        self._waker.close()
        self._woken.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _work(self) -> None:
        # `serve_forever` would wake twice a second to see whether it is to end: a monitor should cost nothing idle.
        with selectors.DefaultSelector() as selector:
            selector.register(self._server, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if self._woken in ready:
                    return
                self._server.handle_request()


class _Server(socketserver.ThreadingTCPServer):
    """A thread for each client, none of which keeps the monitor from ending."""

    allow_reuse_address = True
    daemon_threads = True
    # A client that was gone before it was taken in must not hold up the next.
    timeout = 0.5

    def __init__(self, family: socket.AddressFamily, address: Any, registry: CollectorRegistry) -> None:
        self.address_family = family
        self.registry = registry
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is none of our business; anything else is a fault of this program and is shown."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(MetricsHandler):
    """Answers one request."""

    server_version = "infer-opt"
    sys_version = ""
    timeout = SLOWEST_CLIENT_S

    def setup(self) -> None:
        if isinstance(self.server, _Server):
            self.registry = self.server.registry
        super().setup()

    def do_GET(self) -> None:  # noqa: N802 - the name is http.server's
        place = self.path.partition("?")[0]
        if place == "/metrics":
            super().do_GET()
        elif place == "/":
            self._answer(HTTPStatus.OK, _PAGE, "text/html; charset=utf-8")
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"there is / and /metrics\n", "text/plain; charset=utf-8")

    def _refuse(self) -> None:
        self._answer(HTTPStatus.METHOD_NOT_ALLOWED, b"GET alone\n", "text/plain; charset=utf-8", ("Allow", "GET"))

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse  # noqa: N815 - likewise

    def _answer(self, status: HTTPStatus, body: bytes, kind: str, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (("Content-Type", kind), ("Content-Length", str(len(body))), *headers):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, Any]:
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = found[0]
    return family, address


def _why_not(error: OSError, host: str, port: int) -> ConfigError | UnavailableError:
    if error.errno == errno.EADDRINUSE:
        return UnavailableError(
            f"port {port} of {host} is taken by another program", hint="name another port, or 0 for one that is free"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return UnavailableError(
            f"port {port} of {host} is not for this user", hint="ports below 1024 are root's: name a higher one"
        )
    return ConfigError(
        f"cannot listen at {host}: {error.strerror or error}",
        hint=f"name an address of this machine; {LOOPBACK} keeps others out",
    )
