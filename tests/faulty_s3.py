"""An S3 server on loopback, moto's, whose connections fail when told to."""

import contextlib
import socket
import threading
import time

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

ERROR = b"<Error><Code>InternalError</Code><Message>Try again</Message></Error>"


class FaultyS3:
    """An S3 server. Use as a context manager.

    Attributes:
        url: Where it listens.
        requests: The methods and paths of all requests, in order.
    """

    def __init__(self):
        self.requests, self._faults = [], []
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server(
            "127.0.0.1", 0, self._serve, True, request_handler=_Silent
        )
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @contextlib.contextmanager
    def fails(self, fault, method, name, times=1):
        """Let requests fail within a block; yield those that did.

        Args:
            fault: "cut" (the connection ends within the request's body or, of a
                GET, within the answer's), "error" (status 500), "unanswered"
                (done, and the connection ends before the answer) or "slow".
            method: Of the requests that fail.
            name: What is in their path or query.
            times: How many fail.
        """
        entry = (fault, method, name, times, failed := [])
        self._faults.append(entry)
        try:
            yield failed
        finally:
            self._faults.remove(entry)

    def _serve(self, environ, start):
        method = environ["REQUEST_METHOD"]
        place = f"{environ['PATH_INFO']}?{environ['QUERY_STRING']}"
        self.requests.append((method, place))
        for fault, wanted, name, times, failed in self._faults:
            if wanted == method and name in place and len(failed) < times:
                failed.append(place)
                return _FAULTS[fault](self._moto, environ, start)
        return self._moto(environ, start)


def _error(app, environ, start):
    _read(environ, 1)
    start("500 Internal Server Error", [("Content-Length", str(len(ERROR)))])
    return [ERROR]


def _cut(app, environ, start):
    if environ["REQUEST_METHOD"] == "GET":
        answer = b"".join(app(environ, start))
        yield answer[: len(answer) // 2]
    _read(environ, 0.5)
    _hang_up(environ)


def _unanswered(app, environ, start):
    b"".join(app(environ, lambda *args: None))
    _hang_up(environ)


def _slow(app, environ, start):
    time.sleep(0.5)
    return app(environ, start)


def _read(environ, part):
    size = int(environ.get("CONTENT_LENGTH") or 0)
    environ["wsgi.input"].read(int(size * part))


def _hang_up(environ):
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError  # Of which the server says nothing.


_FAULTS = {
    "cut": _cut,
    "error": _error,
    "unanswered": _unanswered,
    "slow": _slow,
}


class _Silent(MotoRequestHandler):
    """Says nothing of requests."""

    def log(self, *args):
        """Do nothing."""
