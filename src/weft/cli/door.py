"""Control's door as the command line reaches it: HTTP over TLS 1.3, to control and nobody else."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import TYPE_CHECKING, Any, Final

from weft.cli.client import Client, Failed, Refused, problems_of
from weft.errors import Problem
from weft.values import Origin

if TYPE_CHECKING:
    from weft.model.service import Address
    from weft.paths import Paths

TIMEOUT_SECONDS: Final = 15.0
NEEDS_TOKEN: Final = "Set WEFT_TOKEN; an admin makes one where control runs: weft token create NAME --role editor"  # noqa: S105 - words about tokens
MAX_ANSWER: Final = 1024 * 1024


class Connection:
    """One request at a time, each on a connection of its own. ``spiffe_id`` empty: whoever answers."""

    def __init__(self, where: Address, context: ssl.SSLContext, spiffe_id: str) -> None:
        self._where, self._context, self._spiffe_id = where, context, spiffe_id
        self.local = ""
        """This machine's address on the way there, after a request."""

    def json(self, method: str, path: str, body: bytes | None = None) -> Any:  # noqa: ANN401 - the server's to say
        """Raises ``Failed``: nobody is there, it is not control, or it refuses."""
        from weft.agent.remote import check  # noqa: PLC0415 - only this needs cryptography
        from weft.agent.unix_http import NotControlError  # noqa: PLC0415 - as above

        opened = http.client.HTTPSConnection(
            self._where.ip, self._where.port, timeout=TIMEOUT_SECONDS, context=self._context
        )
        try:
            opened.connect()
            if self._spiffe_id:
                check(opened.sock.getpeercert(binary_form=True), self._spiffe_id)
            self.local = opened.sock.getsockname()[0]
            opened.request(method, path, body, {"Content-Type": "application/json", "User-Agent": "weft"})
            answer = opened.getresponse()
            return _read(answer.status, answer.read(MAX_ANSWER), self._where)
        except (ssl.SSLCertVerificationError, NotControlError) as error:
            message = f"whoever answers at {self._where} is not the control plane: {error}"
            raise Failed(self._problem("WFT-1863", message)) from error
        except (OSError, http.client.HTTPException) as error:
            message = f"there is no control plane at {self._where}: {str(error) or type(error).__name__}"
            raise Failed(self._problem("WFT-1863", message)) from error
        finally:
            opened.close()

    def _problem(self, code: str, message: str) -> Problem:
        remedy = "Check the address, and that control was started with weft up --address"
        return Problem(code=code, message=message, remedy=remedy, origin=Origin(str(self._where)))


class Opened(http.client.HTTPSConnection):
    """A connection to control and nobody else."""

    def __init__(self, where: Address, timeout: float | None, context: ssl.SSLContext, spiffe_id: str) -> None:
        super().__init__(where.ip, where.port, timeout=timeout, context=context)
        self._spiffe_id = spiffe_id

    def connect(self) -> None:
        """Raises ``OSError`` when it is not control."""
        from weft.agent.remote import check  # noqa: PLC0415 - as above
        from weft.agent.unix_http import NotControlError  # noqa: PLC0415 - as above

        super().connect()
        try:
            check(self.sock.getpeercert(binary_form=True), self._spiffe_id)
        except NotControlError as error:
            self.close()
            raise OSError(str(error)) from error


def client(paths: Paths, token: str) -> Client:
    """The API of the mesh that this host joined, with a person's token: the host's own identity is not a person's."""
    from weft.agent import remote  # noqa: PLC0415 - as above
    from weft.agent.settings import door  # noqa: PLC0415 - as above
    from weft.names import control_spiffe_id  # noqa: PLC0415 - as above

    joined = remote.read_joined(paths.host_identity)
    where = door(joined.control) if joined else None
    if joined is None or where is None:
        message, remedy = "this host has not joined a mesh", "Join one: weft join IP --token TOKEN"
        raise Failed(Problem(code="WFT-1860", message=message, remedy=remedy, origin=Origin(str(paths.joined))))

    def opened(timeout: float | None) -> http.client.HTTPConnection:
        if not token:
            message, remedy = "the control plane is on another host and needs to know who asks", NEEDS_TOKEN
            raise Failed(Problem(code="WFT-1513", message=message, remedy=remedy, origin=Origin(str(where))))
        roots = (paths.host_identity / remote.BUNDLE).read_text()
        return Opened(where, timeout, remote.context(roots), control_spiffe_id(joined.trust_domain))

    return Client(f"https://{where}", remedy="See that it runs there: weft up --address", token=token, opened=opened)


def _read(status: int, data: bytes, where: Address) -> Any:  # noqa: ANN401 - as above
    try:
        said = json.loads(data)
    except ValueError:
        said = {"message": data.decode(errors="replace")[:200]}
    if status < 400:
        return said
    found = problems_of(said) if isinstance(said, dict) else ()
    message = str(said.get("message", f"status {status}")) if isinstance(said, dict) else f"status {status}"
    remedy = "Read control's log there: weft logs weft-control"
    other = Problem(code="WFT-1704", message=message, remedy=remedy, origin=Origin(str(where)))
    raise Refused(status, "", *(found or (other,)))
