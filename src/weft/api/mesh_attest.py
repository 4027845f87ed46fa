"""Who a process must be to have a service's identity: ``attest`` of a service in the Mesh kind.

```yaml
services:
  pay:
    command: ./pay
    user: payments
    attest: {exe: /opt/pay/bin/pay}
  ledger:                        # systemd runs it, weft does not
    port: 7000
    attest: {uid: ledger, cgroup: /system.slice/ledger.service}
```
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from weft.api.base import Finding, Model, shown, wrong

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,30}\$?")
"""Source: useradd(8), which allows no more."""
_LARGEST: Final = 2**32 - 2
_PATH_LIMIT: Final = 4_096


def _user(value: object) -> object:
    """A number stays what it is, as text."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        wrong("WFT-1103", f"{shown(str(value))} is neither a name nor a number", "Write a name, or a number")
    text = str(value)
    if text.isascii() and text.isdigit():
        if int(text[:12]) > _LARGEST:
            wrong("WFT-1105", f"{shown(text)} is larger than any user's number", f"Use at most {_LARGEST}")
    elif not _NAME.fullmatch(text):
        wrong("WFT-1106", f"{shown(text)} is not a user's name", "Write it as getent passwd shows it, or a number")
    return text


def _is_path(value: str) -> str:
    if not value.startswith("/") or len(value) > _PATH_LIMIT or "\0" in value or (value != "/" and value.endswith("/")):
        wrong("WFT-1105", f"{shown(value)} is not an absolute path", "Write it from / on, without a slash at the end")
    return value


def _is_digest(value: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", value):
        wrong("WFT-1105", f"{shown(value)} is not a SHA-256 digest", "Write the 64 digits that sha256sum prints")
    return value.lower()


_USER: Final = {"anyOf": [{"type": "string", "minLength": 1}, {"type": "integer", "minimum": 0}]}
User: TypeAlias = Annotated[str, BeforeValidator(_user), WithJsonSchema(_USER)]
"""A user or group of the host, by name or number."""
Path: TypeAlias = Annotated[str, AfterValidator(_is_path)]


class Attest(Model):
    """All that is given must hold. For a service with a command it narrows who of the processes that the agent started is it;
    for one without it says who is.
    """

    uid: User | None = None
    gid: User | None = None
    exe: Path | None = None
    """The executable, as the process sees it."""
    sha256: Annotated[str, AfterValidator(_is_digest)] | None = None
    """Of the executable."""
    script: Path | None = None
    """What an interpreter runs; the process says so itself, so name who runs it too."""
    cgroup: Path | None = None
    """Its own, or one above it."""

    def alone(self) -> Iterator[Finding]:
        """What is wrong with it where the agent did not start the process, so that it could be anybody's."""
        if {self.uid, self.gid, self.cgroup} == {None} and {self.exe, self.sha256} != {None}:
            message = "whoever may run this program has it do what he likes (LD_PRELOAD), so every user of the host would be it"
            remedy = "Give uid, gid or cgroup too"
            yield Finding(code="WFT-1105", message=message, remedy=remedy, path=("attest",), is_key=True)

    def findings(self) -> Iterator[Finding]:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if not given:
            message = "attest says nothing about who it is"
            yield Finding(code="WFT-1104", message=message, remedy="Give uid, exe, sha256 or cgroup", path=())
        elif given == ["script"]:
            message = "any process can say of itself that it runs this script"
            yield Finding(
                code="WFT-1105", message=message, remedy="Give uid or cgroup too", path=("script",), is_key=True
            )
