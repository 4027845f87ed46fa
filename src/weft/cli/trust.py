"""``weft trust``: the authority of the trust domain, its rotation, and other trust domains."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from weft.cli import options, output, say
from weft.cli.client import Failed, problems_of
from weft.errors import Problem
from weft.values import Origin

if TYPE_CHECKING:
    from collections.abc import Callable

    from weft.cli.client import Client
    from weft.cli.output import Row
    from weft.identity.keys import KeyManager
    from weft.identity.state import Authority

POLL_SECONDS: Final = 0.5
PATIENT_SECONDS: Final = 5.0
"""How long a step may take before those who have not followed are named."""
SHOWN: Final = 10
"""Blockers named at once; the count says how many more there are."""
MAX_FILE: Final = 256 * 1024

FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group("trust")
def command() -> None:
    """The authority: its states, its rotation, other trust domains."""


def root_options(function: Callable[..., Any]) -> Callable[..., Any]:
    function = click.option(
        "--root-key", type=FILE, metavar="FILE", help="The private key (PEM) of the first certificate in --root-cert."
    )(function)
    return click.option(
        "--root-cert",
        type=FILE,
        metavar="FILE",
        help="A CA of your own (PEM): the CA itself, then those above it up to the root.",
    )(function)


def exception_options(function: Callable[..., Any]) -> Callable[..., Any]:
    function = click.option(
        "--ignore", "ignored", multiple=True, metavar="NODE", help="Do not wait for this proxy. Repeatable."
    )(function)
    return click.option("--force", is_flag=True, help="Wait for nobody: whoever has not followed is cut off.")(function)


AUTHORITIES: tuple[output.Column, ...] = (
    output.Column("AUTHORITY", lambda row: row["id"]),
    output.Column("STATE", lambda row: row["state"]),
    output.Column("ROOT ENDS", lambda row: row.get("root")),
    output.Column("ISSUING ENDS", lambda row: row.get("issuing")),
    output.Column("LIFE OVER", lambda row: row.get("used")),
    output.Column("MADE BY", lambda row: "you" if row["plugged"] else "weft"),
    output.Column("SHA256 OF ROOT", lambda row: row.get("fingerprint"), wide=True),
)
FEDERATED: tuple[output.Column, ...] = (
    output.Column("FEDERATED", lambda row: row["trust_domain"]),
    output.Column("PROFILE", lambda row: row["profile"]),
    output.Column("ENDPOINT", lambda row: row["url"]),
    output.Column("SEQUENCE", lambda row: row["sequence"]),
    output.Column("AUTHORITIES", lambda row: row["authorities"]),
    output.Column("FETCHED", lambda row: when(row["fetched"])),
)


@command.command("status")
@options.output_option()
def status(form: str) -> int:
    """Show the authority, and who holds up a rotation.

    Also what nears its end, and other trust domains.

    Exit code 3: something needs your attention.
    """
    control = options.control()
    answer = control.get("/weft/v1/authorities")
    federated = control.get("/weft/v1/federation")["items"]
    rows = [row_of(each) for each in answer["authorities"]]
    output.show(form, {**answer, "federated": federated}, rows, AUTHORITIES, lambda row: str(row["id"]))
    found = problems_of(answer)
    if form in ("table", "wide"):
        if federated:
            say.data("\n" + output.table(federated, FEDERATED, wide=form == "wide"))
        say.note(f"Trust domain {answer['domain']}, bundle sequence {answer['sequence']}")
        rotation = answer["rotation"]
        if rotation and rotation["step"] != "done":
            say.note(STEPS.get(rotation["step"], rotation["step"]))
            say.note(waiting(answer["blockers"]))
        for problem in found:
            say.problem(problem)
    return 3 if found else 0


def row_of(authority: dict[str, Any]) -> Row:
    lives = {each["part"]: each for each in authority["certificates"]}
    if not lives:
        return authority
    used = max(each["used"] for each in lives.values() if not each["renews"])
    return {
        **authority,
        "root": when(lives["root"]["not_after"]),
        "issuing": when(lives["issuing"]["not_after"]) + (" (renews)" if lives["issuing"]["renews"] else ""),
        "used": f"{used:.0%}",
        "fingerprint": lives["root"]["fingerprint"],
    }


def when(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d") if seconds else ""


@command.command("init")
@click.option("--trust-domain", default="local", show_default=True, metavar="NAME", help="The name in every identity.")
@click.option("--curve", type=click.Choice(["P-256", "P-384"]), default="P-256", show_default=True)
@root_options
def init(trust_domain: str, curve: str, root_cert: Path | None, root_key: Path | None) -> None:
    """Make the authority before the first 'weft up'.

    Under a name of your own, or below a CA of your own.

    Without this, the first start makes one for the trust domain 'local'.
    """
    from weft.identity import authority, opening, plugged, spiffe  # noqa: PLC0415 - only this verb makes keys
    from weft.identity.problems import TrustError  # noqa: PLC0415
    from weft.paths import prepare  # noqa: PLC0415
    from weft.sources.lock import UnusableError, lock  # noqa: PLC0415

    paths, now = options.paths(), datetime.now(UTC)
    try:
        spiffe.trust_domain(trust_domain)
    except spiffe.NotSpiffeError as error:
        raise click.UsageError(f"--trust-domain {trust_domain!r} {error}.") from error
    given = _pair(root_cert, root_key)
    if problems := prepare(paths):
        raise Failed(*problems)
    try:
        held = lock(paths.state)
    except UnusableError as error:
        raise Failed(error.problem) from error
    try:
        if opening.exists(paths.trust):
            message, remedy = "there is an authority already", "Replace it: weft trust rotate"
            raise Failed(Problem(code="WFT-1809", message=message, remedy=remedy, origin=Origin(str(paths.trust))))
        found = given and plugged.read(*given, trust_domain, now, str(root_cert), str(root_key))

        def make(keys: KeyManager) -> Authority:
            if found is None:
                return authority.make(trust_domain, keys, now, curve)
            return authority.below(trust_domain, keys, found.chain, found.root, found.key, now, curve)

        made = opening.begin(paths.trust, trust_domain, now, make, "weft trust init")
    except TrustError as error:
        raise Failed(*error.problems) from error
    finally:
        os.close(held)
    say.note(f"Authority {made.active.id} of trust domain {trust_domain}. Next: weft up")


@command.command("prepare")
@root_options
def prepare_(root_cert: Path | None, root_key: Path | None) -> None:
    """Make the next authority and put it into every bundle. It signs nothing until it is activated."""
    name = _step("prepare", _body(pair=_pair(root_cert, root_key)))["authority"]
    say.note(f"Authority {name} is prepared. Next: weft trust activate")


@command.command("activate")
@click.argument("authority", required=False, default="")
@exception_options
def activate(authority: str, ignored: tuple[str, ...], force: bool) -> None:
    """Sign with the prepared authority from now on. Refused as long as a proxy does not have its bundle."""
    name = _step("activate", _body(authority, ignored, force=force))["authority"]
    say.note(f"Authority {name} signs. Next: weft trust taint, or back with: weft trust activate OLD")


@command.command("taint")
@click.argument("authority", required=False, default="")
def taint(authority: str) -> None:
    """Have every SVID of the authority before replaced at once. It stays in the bundle until it is revoked."""
    name = _step("taint", _body(authority))["authority"]
    say.note(f"Authority {name} is tainted. Next: weft trust revoke")


@command.command("revoke")
@click.argument("authority", required=False, default="")
@exception_options
def revoke(authority: str, ignored: tuple[str, ...], force: bool) -> None:
    """Take a tainted authority out of every bundle.

    And delete its keys. Refused as long as a proxy has its SVID.
    """
    name = _step("revoke", _body(authority, ignored, force=force))["authority"]
    say.note(f"Authority {name} is revoked: its SVIDs are refused everywhere.")


@command.command("rotate")
@root_options
@exception_options
@click.option("--no-wait", is_flag=True, help="Begin it and return; it goes on by itself.")
@click.option("--timeout", "seconds", type=float, metavar="SECONDS", help="Wait no longer than this.")
def rotate(
    root_cert: Path | None,
    root_key: Path | None,
    ignored: tuple[str, ...],
    force: bool,
    no_wait: bool,
    seconds: float | None,
) -> int:
    """Replace root, issuing CA and token key, step by step.

    Prepare, activate, taint, revoke: each when every proxy has followed.

    It goes on by itself when this command ends. Say it again to watch it, or to let a proxy go with --ignore.
    """
    rotation = _step("rotate", _body("", ignored, force=force, pair=_pair(root_cert, root_key)))
    say.note(f"Authority {rotation['old']} is replaced by {rotation['new']}.")
    return 0 if no_wait else follow(options.control(), rotation["new"], seconds)


def follow(control: Client, new: str, seconds: float | None) -> int:
    """Say how the rotation goes on, until it has ended (0) or the time is over (1); who blocks it, once that lasts."""
    end = None if seconds is None else time.monotonic() + seconds
    step, since, said = "", 0.0, ""
    while True:
        answer = control.get("/weft/v1/authorities")
        rotation = answer["rotation"]
        if rotation is None or rotation["new"] != new or rotation["step"] == "done":
            say.note(f"Authority {new} is the only one that is trusted.")
            return 0
        if rotation["step"] != step:
            step, since = rotation["step"], time.monotonic()
            say.note(STEPS.get(step, step))
        over = end is not None and time.monotonic() >= end
        blocked = waiting(answer["blockers"])
        who = "".join(
            each["node"] for each in answer["blockers"]
        )  # how long ago they were heard of changes all the time
        if who != said and (over or time.monotonic() >= since + PATIENT_SECONDS):
            said = who
            say.note(blocked)
        if over:
            say.warning("the rotation has not ended in time; it goes on by itself")
            return 1
        time.sleep(POLL_SECONDS)


STEPS: Final = {
    "prepared": "prepared (1 of 4): every proxy gets the new bundle",
    "activated": "activated (2 of 4): the new authority signs",
    "tainted": "tainted (3 of 4): every proxy gets a new SVID",
}


def waiting(blockers: list[dict[str, Any]]) -> str:
    """Who holds a rotation up."""
    if not blockers:
        return "  waiting for nobody"
    lines = [f"  waiting for {len(blockers)}; let one go with: weft trust rotate --ignore NODE"]
    lines += [f"  {each['node']}: {each['why']}" for each in blockers[:SHOWN]]
    if len(blockers) > SHOWN:
        lines.append(f"  and {len(blockers) - SHOWN} more")
    return "\n".join(lines)


@command.command("federate")
@click.argument("trust_domain")
@click.option("--bundle", "bundle_file", type=FILE, metavar="FILE", help="Its bundle document, once and for all.")
@click.option("--endpoint", "url", metavar="URL", default="", help="Where its bundle is asked for again and again.")
@click.option("--profile", type=click.Choice(["https_web", "https_spiffe"]), default="https_web", show_default=True)
@click.option("--spiffe-id", default="", metavar="ID", help="https_spiffe: the SPIFFE ID of the endpoint.")
@click.option("--bootstrap", type=FILE, metavar="FILE", help="Its bundle document to begin with.")
@click.option(
    "--ca", type=FILE, metavar="FILE", help="https_web: the CAs of the endpoint (PEM), instead of the system's."
)
@click.option("--private", is_flag=True, help="The endpoint may be at a loopback, link-local or private address.")
@click.option("--remove", is_flag=True, help="Trust it no more.")
def federate(
    trust_domain: str,
    bundle_file: Path | None,
    url: str,
    profile: str,
    spiffe_id: str,
    bootstrap: Path | None,
    ca: Path | None,
    private: bool,
    remove: bool,
) -> None:
    """Trust the SVIDs of another trust domain, by its SPIFFE bundle. Its identities are never mixed with ours."""
    control = options.control()
    if remove:
        control.json("DELETE", f"/weft/v1/federation/{trust_domain}")
        say.note(f"{trust_domain} is not trusted any more.")
        return
    if bool(bundle_file) == bool(url):
        raise click.UsageError("Give either --bundle FILE or --endpoint URL.")
    if not url and (spiffe_id or bootstrap or ca or private):
        raise click.UsageError("--spiffe-id, --bootstrap, --ca and --private belong to --endpoint.")
    if profile == "https_spiffe" and ca:
        raise click.UsageError("--ca belongs to https_web; https_spiffe checks the endpoint by the bundle.")
    if profile == "https_web" and spiffe_id:
        raise click.UsageError("--spiffe-id belongs to --profile https_spiffe.")
    document = bundle_file or bootstrap
    asked = {
        "trust_domain": trust_domain,
        "document": _text(document) if document else "",
        "profile": profile if url else "file",
        "url": url,
        "spiffe_id": spiffe_id,
        "ca": _text(ca) if ca else "",
        "private": private,
    }
    control.json("POST", "/weft/v1/federation", body=asked)
    say.note(f"SVIDs of {trust_domain} are trusted. Name them in policies as spiffe://{trust_domain}/...")


@command.command("bundle")
def bundle() -> None:
    """Write our bundle, for others to federate with.

    It is a SPIFFE bundle document.
    """
    say.data(json.dumps(options.control().get("/.well-known/spiffe-bundle"), indent=2))


def _step(name: str, body: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = options.control().json("POST", f"/weft/v1/authorities/{name}", body=body)
    return answer


def _body(
    authority: str = "", ignored: tuple[str, ...] = (), *, force: bool = False, pair: tuple[bytes, bytes] | None = None
) -> dict[str, Any]:
    body: dict[str, Any] = {"authority": authority, "force": force, "ignore": list(ignored)}
    if pair is not None:
        body |= {"certificates": pair[0].decode(errors="replace"), "key": pair[1].decode(errors="replace")}
    return body


def _pair(certificates: Path | None, key: Path | None) -> tuple[bytes, bytes] | None:
    """Certificates and key of a CA of one's own. Raises ``Failed`` when others can read the key."""
    if certificates is None and key is None:
        return None
    if certificates is None or key is None:
        raise click.UsageError("--root-cert and --root-key go together.")
    from weft.identity.keys import read_private  # noqa: PLC0415 - only this needs it
    from weft.identity.problems import TrustError  # noqa: PLC0415

    try:
        return _text(certificates).encode(), read_private(key.resolve())
    except TrustError as error:
        raise Failed(*error.problems) from error


def _text(path: Path) -> str:
    if path.stat().st_size > MAX_FILE:
        raise click.UsageError(f"{path} is larger than {MAX_FILE:,} bytes.")
    return path.read_text(errors="replace")
