"""Where the agent keeps its files and sockets, and the proof that nobody else can reach them.

State (kept between runs) and runtime (sockets, gone after a reboot) are two directories, both 0700 and owned by the
caller.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from weft.errors import Problem
from weft.values import Origin

if TYPE_CHECKING:
    from collections.abc import Mapping

SOCKET_LIMIT: Final = 107
"""The longest path of a unix socket on Linux, in bytes."""

_LONGEST_SOCKET: Final = len("/p/0123456789abcdef/./in-65535.sock")


class Paths(msgspec.Struct, frozen=True):
    """The two directories, and every path below them that more than one process must know."""

    state: Path
    runtime: Path

    @property
    def control_socket(self) -> Path:
        return self.runtime / "control.sock"

    @property
    def xds_socket(self) -> Path:
        return self.runtime / "xds.sock"

    @property
    def agent_socket(self) -> Path:
        return self.runtime / "agent.sock"

    @property
    def fallback_socket(self) -> Path:
        return self.runtime / "fallback.sock"

    @property
    def sds_socket(self) -> Path:
        """Secrets for the proxies of this host, by the agent."""
        return self.runtime / "sds.sock"

    @property
    def workload_socket(self) -> Path:
        """The SPIFFE Workload API. Every user may connect; who asks is found out from the kernel. It lies in a directory
        of its own, because others may not enter the runtime directory.
        """
        return self.runtime.with_name(f"{self.runtime.name}-workload") / "api.sock"

    @property
    def relay_socket(self) -> Path:
        """The host proxy's way to other hosts, for proxies in captured namespaces."""
        return self.runtime / "relay.sock"

    @property
    def door_socket(self) -> Path:
        """A joined host's way to control's door, for proxies in captured namespaces."""
        return self.runtime / "door.sock"

    @property
    def door_xds_socket(self) -> Path:
        """Where control takes xDS that came in by its door: ``x-forwarded-client-cert`` is believed here."""
        return self.runtime / "door-xds.sock"

    @property
    def door_api_socket(self) -> Path:
        """As ``door_xds_socket``, for the API."""
        return self.runtime / "door-api.sock"

    @property
    def door(self) -> Path:
        """What the door's Envoy shows and believes; control writes it."""
        return self.runtime / "door"

    @property
    def host_identity(self) -> Path:
        """A joined host's own key, SVID and bundle, and where it joined."""
        return self.state / "agent" / "host"

    @property
    def joined(self) -> Path:
        """Where a joined host's control is; absent on a host of its own."""
        return self.host_identity / "joined.json"

    @property
    def trust(self) -> Path:
        """The authority's keys, certificates and journal."""
        return self.state / "trust"

    @property
    def resolver_socket(self) -> Path:
        return self.runtime / "resolver.sock"

    @property
    def egress_socket(self) -> Path:
        return self.runtime / "egress.sock"

    @property
    def lock(self) -> Path:
        return self.state / "agent" / "lock"

    @property
    def names(self) -> Path:
        """The names that the resolver answers, as control last said them."""
        return self.state / "agent" / "names.json"

    @property
    def records(self) -> Path:
        """One file per process that runs, so that a new agent finds it again."""
        return self.state / "agent" / "records"

    @property
    def held(self) -> Path:
        """The configuration that each proxy last accepted."""
        return self.state / "agent" / "held"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    def proxy(self, node: str) -> Path:
        """The directory of one proxy's own files (bootstrap, base id)."""
        return self.state / "proxies" / node.replace("/", ".")

    def sockets(self, node: str) -> Path:
        """The directory of one proxy's sockets. Its name is a hash, so that no name makes a path too long."""
        return self.runtime / "p" / hashlib.sha256(node.encode()).hexdigest()[:16]


def locate(environ: Mapping[str, str], uid: int) -> Paths:
    """The directories that the environment asks for (see ARCHITECTURE.md), neither made nor checked."""
    home = Path(environ.get("HOME") or "/")
    if chosen := environ.get("WEFT_STATE_DIR"):
        state = Path(chosen)
    elif base := environ.get("XDG_STATE_HOME"):
        state = Path(base) / "weft"
    else:
        state = home / ".local" / "state" / "weft"
    if chosen := environ.get("WEFT_RUNTIME_DIR"):
        runtime = Path(chosen)
    elif base := environ.get("XDG_RUNTIME_DIR"):
        runtime = Path(base) / "weft"
    else:
        runtime = Path("/tmp") / f"weft-{uid}"  # noqa: S108 - made 0700, and refused when it belongs to somebody else
    return Paths(state=state.absolute(), runtime=runtime.absolute())


def prepare(paths: Paths) -> tuple[Problem, ...]:
    """Make the directories that are missing; every reason why they cannot be used."""
    problems = list(lengths(paths))
    below = (paths.state / "agent", paths.records, paths.held, paths.logs, paths.state / "proxies", paths.runtime / "p")
    for directory in (paths.state, paths.runtime, *below):
        if found := private_directory(directory):
            problems.append(found)
            if directory in (paths.state, paths.runtime):
                break
    return tuple(problems)


def lengths(paths: Paths) -> tuple[Problem, ...]:
    """A problem if sockets below the runtime directory would have names that Linux refuses."""
    length = len(os.fsencode(paths.runtime)) + _LONGEST_SOCKET
    if length <= SOCKET_LIMIT:
        return ()
    return (
        Problem(
            code="WFT-1602",
            message=f"sockets in the runtime directory would need {length} bytes; Linux has {SOCKET_LIMIT}",
            remedy=f"Set WEFT_RUNTIME_DIR to a directory of at most {SOCKET_LIMIT - _LONGEST_SOCKET} bytes.",
            origin=Origin(str(paths.runtime)),
        ),
    )


def private_directory(directory: Path) -> Problem | None:
    """Make ``directory`` with mode 0700, or say why the one that is there cannot be trusted.

    Source of the danger: in a directory like /tmp anybody can put a directory, or a link, of the expected name first.
    """
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError:
            found = directory.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                return Problem(
                    code="WFT-1601",
                    message=f"{directory} is not a directory of user {os.geteuid()}",
                    remedy="Remove it, or choose another place with WEFT_STATE_DIR and WEFT_RUNTIME_DIR.",
                    origin=Origin(str(directory)),
                )
            if stat.S_IMODE(found.st_mode) & 0o077:
                directory.chmod(0o700)
    except OSError as error:
        return Problem(
            code="WFT-1601",
            message=f"{directory} cannot be made or read: {error.strerror}",
            remedy="Make it writable, or choose another place with WEFT_STATE_DIR and WEFT_RUNTIME_DIR.",
            origin=Origin(str(directory)),
        )
    return None


def public_directory(directory: Path) -> Problem | None:
    """Make ``directory`` such that everybody may enter it and nobody else may change it, or say why the one that is there cannot
    be trusted (as ``private_directory``).
    """
    try:
        directory.mkdir(mode=0o755, exist_ok=True)
        found = directory.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid():
            directory.chmod(0o755)
            return None
        message = f"{directory} is not a directory of user {os.geteuid()}"
    except OSError as error:
        message = f"{directory} cannot be made or read: {error.strerror}"
    return Problem(
        code="WFT-1601",
        message=message,
        remedy="Remove it, or choose another place with WEFT_RUNTIME_DIR.",
        origin=Origin(str(directory)),
    )
