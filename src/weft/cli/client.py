"""HTTP/1.1 over a unix socket (or, with a token, loopback TCP), for the CLI's own few requests.

Built on the standard library: importing it costs about 10 ms of the 150 ms that a verb may take to
start, httpx2 costs 65 (measured on a two-core machine). One connection serves one request.
"""

from __future__ import annotations

import http.client
import json
import socket
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import quote, urlencode, urlsplit

from weft.errors import Problem
from weft.values import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Json: TypeAlias = Any
"""What ``json.loads`` returns: its shape is the server's to say."""

TIMEOUT_SECONDS: Final = 30.0


class Failed(Exception):  # noqa: N818 - it is an answer to the user; its subclasses say which
    """The command cannot do what was asked; the problems say why. ``exit_code`` as the conventions page says."""

    def __init__(self, *problems: Problem, exit_code: int = 1) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems
        self.exit_code = exit_code


class Absent(Failed):
    """Nobody listens on the socket."""


class Refused(Failed):
    """The server answered with an error. ``status`` is HTTP's, ``reason`` Kubernetes' word for it."""

    def __init__(self, status: int, reason: str, *problems: Problem) -> None:
        super().__init__(*problems)
        self.status = status
        self.reason = reason


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("weft", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def target(path: str, query: Mapping[str, str] | None = None) -> str:
    """A path (unquoted) and a query as a request target; empty values are left out."""
    asked = {name: value for name, value in (query or {}).items() if value}
    return quote(path, safe="/:@|,=") + (f"?{urlencode(asked)}" if asked else "")


class Client:
    """Requests to one socket. ``what`` names the server in messages, ``remedy`` says how to bring it to life.

    ``path`` is that of a unix socket, or ``http://127.0.0.1:PORT``, where ``token`` opens. Raises ``Failed`` for another URL.
    ``opened`` makes the connection where neither fits, with a timeout in seconds; ``path`` is what it is called then.
    """

    def __init__(
        self,
        path: str,
        what: str = "the control plane",
        remedy: str = "Start it: weft up -d",
        token: str = "",
        opened: Callable[[float | None], http.client.HTTPConnection] | None = None,
    ) -> None:
        self.path = path
        self._opened = opened
        self._tcp = _tcp(path) if "://" in path and opened is None else None
        self._token = token
        self._what = what
        self._remedy = remedy

    def send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        timeout: float | None = TIMEOUT_SECONDS,
    ) -> http.client.HTTPResponse:
        """The answer with its body unread. Raises ``Absent``, and ``Refused`` for 400 and above."""
        connection = self._connection(timeout)
        try:
            answer = self._exchange(connection, method, target(path, query), body, content_type)
        except OSError as error:
            connection.close()
            raise self._absence(error, timeout) from error
        except http.client.HTTPException as error:
            connection.close()
            raise self._absence(OSError(str(error)), timeout) from error
        if answer.status >= 400:
            raise self._refusal(answer.status, answer.read())
        return answer

    def _connection(self, timeout: float | None) -> http.client.HTTPConnection:
        if self._opened is not None:
            return self._opened(timeout)
        if self._tcp is None:
            return _UnixConnection(self.path, timeout)
        return http.client.HTTPConnection(*self._tcp, timeout=timeout)

    def _exchange(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None, content_type: str
    ) -> http.client.HTTPResponse:
        headers = {"User-Agent": "weft", "Connection": "close"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if body is not None:
            headers["Content-Type"] = content_type
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        if connection.sock is not None:
            connection.sock.close()  # the answer reads on; the socket ends with it
        return answer

    def _absence(self, error: OSError, timeout: float | None) -> Absent:
        """What an error of the connection means to a user."""
        look = "Read its log: weft logs weft-control"
        if isinstance(error, (ConnectionRefusedError, FileNotFoundError)):
            where = "here" if self._tcp is None else "there"
            return Absent(self._problem("WFT-1701", f"{self._what} does not run {where}", self._remedy))
        if isinstance(error, PermissionError):
            remedy = "Run weft as the user that started it"
            return Absent(self._problem("WFT-1702", f"{self._what} belongs to another user", remedy))
        if isinstance(error, TimeoutError):
            return Absent(self._problem("WFT-1703", f"{self._what} gave no answer within {timeout:g} s", look))
        message = f"{self._what} ended the connection ({type(error).__name__} {error})"
        return Absent(self._problem("WFT-1703", message, look))

    def json(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Json = None,
        content_type: str = "application/json",
        timeout: float | None = TIMEOUT_SECONDS,
    ) -> Json:
        """The answer's body as JSON, None when it is empty. ``body`` that is not bytes is sent as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        text = self.send(method, path, query, data, content_type, timeout).read()
        return json.loads(text) if text else None

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        return self.json("GET", path, query)

    def lines(self, path: str, query: Mapping[str, str] | None = None) -> Iterator[bytes]:
        """The lines of a streamed answer, for as long as the server sends them."""
        with self.send("GET", path, query, timeout=None) as answer:
            while line := answer.readline():
                yield line.rstrip(b"\r\n")

    def _problem(self, code: str, message: str, remedy: str) -> Problem:
        return Problem(code=code, message=message, remedy=remedy, origin=Origin(self.path))

    def _refusal(self, status: int, body: bytes) -> Refused:
        try:
            said = json.loads(body)
        except ValueError:
            said = {"message": body.decode(errors="replace").strip()[:400]}
        if not isinstance(said, dict):
            said = {"message": str(said)}
        problems = problems_of(said)
        if not problems and "code" in said and "remedy" in said:  # the agent's form
            problems = (self._problem(str(said["code"]), str(said["message"]), str(said["remedy"])),)
        if not problems:
            message = str(said.get("message") or said.get("error") or f"status {status}")
            remedy = _REMEDIES.get(status, "Correct the request; the message says what is wrong with it")
            problems = (self._problem("WFT-1704", message.rstrip("."), remedy),)
        return Refused(status, str(said.get("reason", "")), *problems)


def _tcp(url: str) -> tuple[str, int]:
    """Host and port of a URL."""
    split = urlsplit(url)
    try:
        port = split.port or 0
    except ValueError:
        port = 0
    if split.scheme != "http" or not split.hostname or not port or split.path.strip("/"):
        message, remedy = f"{url!r} is not the URL of an API", "Write http://127.0.0.1:PORT, as WEFT_LISTEN has it"
        raise Failed(Problem(code="WFT-1711", message=message, remedy=remedy, origin=Origin("--context")), exit_code=2)
    return split.hostname, port


_REMEDIES: Final[Mapping[int, str]] = {
    404: "List what there is: weft get all -A, weft ps",
    409: "Read the object again and repeat the change: somebody changed it meanwhile",
    500: "This is a fault of weft. Its log says more: weft logs weft-control",
    503: "Wait until it is ready: weft up",
}


def problems_of(answer: Mapping[str, Any]) -> tuple[Problem, ...]:
    """The problems that an answer carries: ``problems`` at its top or, in a Kubernetes Status, in ``details``."""
    import msgspec  # noqa: PLC0415 - only answers with problems need it

    found = answer.get("problems")
    if found is None and isinstance(details := answer.get("details"), dict):
        found = details.get("problems")
    return msgspec.convert(found or [], tuple[Problem, ...])
