"""``weft join``: this machine as one more host of a mesh."""

from __future__ import annotations

import json
import os
import ssl
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import click

from weft import private
from weft.cli import options, processes, say, up
from weft.cli.client import Failed
from weft.cli.door import Connection
from weft.cli.down import answers
from weft.errors import Problem
from weft.values import Origin

if TYPE_CHECKING:
    from collections.abc import Callable

    from weft.agent.remote import Joined
    from weft.model.service import Address
    from weft.paths import Paths

Vouched: TypeAlias = "tuple[bytes, Callable[[str, bytes], dict[str, Any]]]"
"""The fingerprint of control's root, and what a host of a name says with its CSR (DER)."""
PATH: Final = "/weft/v1/join"
MAX_TOKEN: Final = 4_096
"""Characters that are read: more than a token has, so that a file that holds none is told from one."""


@click.command("join")
@click.argument("address", metavar="IP[:PORT]")
@click.option(
    "--token",
    metavar="TOKEN|-",
    help="From 'weft token create --join NAME', good for ten minutes. -: asks for it, or reads standard input.",
)
@click.option(
    "--token-file", "file", metavar="FILE", type=click.Path(dir_okay=False), help="Reads the token from a file instead."
)
@click.option(
    "--cert",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Joins by a certificate (PEM, the CAs above it behind it) instead of a token: 'weft token create --join --ca'.",
)
@click.option("--key", metavar="FILE", type=click.Path(dir_okay=False), help="The key of that certificate (PEM).")
@click.option("--fingerprint", metavar="SHA256", help="What control is known by, without a token.")
@click.option("--name", envvar="WEFT_HOST", metavar="NAME", help="The name of this host. Default: the machine's.")
@click.option(
    "--address",
    "own",
    envvar="WEFT_ADDRESS",
    metavar="IP",
    help="Where other hosts reach this one. Default: as control does.",
)
@options.start_timeout_option("How long to wait until it runs.")
def command(
    address: str,
    token: str | None,
    file: str | None,
    cert: str | None,
    key: str | None,
    fingerprint: str | None,
    name: str | None,
    own: str | None,
    seconds: float,
) -> int:
    """Make this machine a host of the mesh that runs at IP.

    Leaves weft running here. The control plane must have been started with 'weft up --address'. The host renews its
    own identity; 'weft up' starts it again, 'weft down' ends it. Everybody on this machine can read a command line
    while it runs: give the token by --token - or --token-file where others work here.
    """
    from weft.agent.settings import door  # noqa: PLC0415 - as every verb, it loads what it needs

    where = door(address)
    if where is None:
        raise click.UsageError(f"{address!r} is not an IP address, with or without a port.")
    paths, agent = options.paths(), options.agent()
    name = name or processes.host()
    _is_free(paths, name)
    if answers(agent):
        message, remedy = "weft runs here already", "End it first: weft down"
        raise Failed(_problem("WFT-1864", message, remedy, str(paths.state)))
    held = cert or key or fingerprint
    vouched = _certificate(cert, key, fingerprint, token or file) if held else _token(_said(token, file))
    joined = introduce(where, vouched, name, own, paths)
    started = up.start(paths, ())
    up.wait_joined(started, agent, paths, seconds)
    say.note(f"{joined.host} is in the mesh, at {joined.address}. Run something here: weft run NAME -- CMD...")
    return 0


def _said(token: str | None, file: str | None) -> str:
    """The token, from where it is said to be; what is longer than any is cut off."""
    if (token is None) == (file is None):
        raise click.UsageError(
            "Give the token once: --token - asks for it, --token-file reads it from a file. Or join by --cert."
        )
    if file is not None:
        try:
            with Path(file).open(encoding="ascii", errors="replace") as opened:
                return opened.read(MAX_TOKEN).strip()
        except OSError as error:
            raise click.UsageError(f"The token cannot be read: {error}") from error
    if token != "-":  # noqa: S105 - the sign for another place
        return str(token)
    if sys.stdin.isatty():
        return str(click.prompt("Token", hide_input=True, err=True)).strip()
    return sys.stdin.read(MAX_TOKEN).strip()


def _is_free(paths: Paths, name: str) -> None:
    """Raises ``Failed`` when this state belongs to another host, or to a control plane."""
    from weft.agent.remote import read_joined  # noqa: PLC0415 - as above

    before = read_joined(paths.host_identity)
    if before is not None and before.host != name:
        message = f"this host is {before.host} in the mesh at {before.control} already"
    elif before is None and (paths.state / "weft.db").exists():
        message = "this state directory is that of a host with a control plane of its own"
    else:
        return
    remedy = "Start it again with weft up, or give it a state directory of its own: --state-dir DIR"
    raise Failed(_problem("WFT-1864", message, remedy, str(paths.host_identity)))


def _token(text: str) -> Vouched:
    """Joining by a token. Raises ``Failed`` when it is none."""
    from weft.identity import join  # noqa: PLC0415 - as above

    said = join.parse(text)
    if said is None:
        message, remedy = "this is not a join token", "Make one where control runs: weft token create --join HOST"
        raise Failed(_problem("WFT-1861", message, remedy, "--token"))
    return said.fingerprint, lambda _host, _csr: {"token": text}


def _certificate(cert: str | None, key: str | None, fingerprint: str | None, token: str | None) -> Vouched:
    """Joining by a certificate. Raises ``Failed`` when it, or its key, cannot be used."""
    from weft.identity import possession  # noqa: PLC0415 - as above
    from weft.identity.problems import TrustError  # noqa: PLC0415 - as above

    root = possession.fingerprint(fingerprint or "")
    if token or not cert or not key or root is None:
        raise click.UsageError(
            "To join by a certificate give --cert, --key and --fingerprint (64 hexadecimal digits), and no token."
        )
    try:
        held = possession.read(Path(cert), Path(key))
    except TrustError as error:
        raise Failed(*error.problems) from error

    def proof(host: str, csr: bytes) -> dict[str, Any]:
        made = held.prove(host, csr, root, datetime.now(UTC))
        chain = [_text(each) for each in made.chain]
        return {"proof": {"chain": chain, "time": made.time, "signature": _text(made.signature)}}

    return root, proof


def introduce(where: Address, vouched: Vouched, name: str, own: str | None, paths: Paths) -> Joined:
    """Find out that it is control, say what vouches for this host, and write down what it is now. Raises ``Failed``."""
    from weft.agent import remote  # noqa: PLC0415 - as above
    from weft.agent.trust import key_der, make_csr, make_key  # noqa: PLC0415 - as above
    from weft.identity import pem  # noqa: PLC0415 - as above
    from weft.names import control_spiffe_id  # noqa: PLC0415 - as above
    from weft.paths import prepare, private_directory  # noqa: PLC0415 - as above

    if found := prepare(paths) or tuple(each for each in (private_directory(paths.host_identity),) if each):
        raise Failed(*found)
    fingerprint, vouch = vouched
    domain, root = _pinned(where, fingerprint)
    key = make_key()
    csr = make_csr(key)
    body = json.dumps({"host": name, "csr": _text(csr)} | vouch(name, csr)).encode()
    connection = Connection(where, remote.context(pem.certificates((root,)).decode()), control_spiffe_id(domain))
    answer: dict[str, Any] = connection.json("POST", PATH, body)
    chain = tuple(_bytes(each) for each in answer["svid"]["chain"])
    bundle = tuple(_bytes(each) for each in answer["bundle"]["x509"])
    joined = remote.Joined(name, str(where), own or connection.local, domain)
    private.replace(paths.host_identity / remote.IDENTITY, pem.private_key(key_der(key)) + pem.certificates(chain))
    private.replace(paths.host_identity / remote.BUNDLE, pem.certificates(bundle))
    private.replace(paths.host_identity / remote.JOINED, remote.encode(joined))
    return joined


def _pinned(where: Address, fingerprint: bytes) -> tuple[str, bytes]:
    """The trust domain, and the root with this fingerprint. Nothing is believed yet but that root, and nothing was said."""
    from weft.identity import join  # noqa: PLC0415 - as above

    unchecked = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unchecked.check_hostname = False
    unchecked.verify_mode = ssl.CERT_NONE  # the root in the answer is checked against the token, and then everything is
    offer: dict[str, Any] = Connection(where, unchecked, "").json("GET", PATH)
    root = join.pinned(fingerprint, [_bytes(each) for each in offer["x509"]])
    if root is None:
        message = f"whoever answers at {where} does not have the root that was named"
        remedy = "Check the address; if it is right, make a new token or invitation: weft token create --join HOST"
        raise Failed(_problem("WFT-1863", message, remedy, str(where)))
    return str(offer["domain"]), root


def _bytes(text: str) -> bytes:
    from base64 import b64decode  # noqa: PLC0415 - as above

    return b64decode(text)


def _text(data: bytes) -> str:
    from base64 import b64encode  # noqa: PLC0415 - as above

    return b64encode(data).decode()


def _problem(code: str, message: str, remedy: str, place: str) -> Problem:
    return Problem(code=code, message=message, remedy=remedy, origin=Origin(place))


def environment(paths: Paths) -> dict[str, str]:
    """What the agent of a joined host is told beside the rest; nothing on another."""
    if not paths.joined.exists():
        return {}
    from weft.agent.remote import read_joined  # noqa: PLC0415 - as above

    joined = read_joined(paths.host_identity)
    if joined is None:
        return {}
    own = os.environ.get("WEFT_ADDRESS") or joined.address
    return {"WEFT_HOST": joined.host, "WEFT_CONTROL_ADDRESS": joined.control, "WEFT_ADDRESS": own}
