"""Problems: what is wrong with something a user wrote or asked, as a value.

A problem is a value and not an exception: the CLI, the API, the dashboard and an object's status show it unchanged, and
bad input removes only its own object. Exceptions are for bugs and for absent peers. Every code has one entry in
``CODES`` (title and severity) and one page under ``docs/reference/errors/``; a test compares the two.
"""

from __future__ import annotations

import enum
from types import MappingProxyType
from typing import Final

import msgspec

from weft.values import Origin, Ref


class Severity(enum.Enum):
    """``error``: the object, or the named part of it, has no effect. ``warning``: it has, and it may surprise."""

    ERROR = "error"
    WARNING = "warning"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong. ``field`` is a path such as ``spec.rules[0].backendRefs[1].port``, or empty.

    ``message`` says what is and what is not (one sentence, no full stop); ``remedy`` says what to do.
    """

    code: str
    message: str
    remedy: str
    origin: Origin
    ref: Ref | None = None
    field: str = ""
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        """The four-line form of the conventions page: code and message, place, remedy."""
        owner = f" ({self.ref})" if self.ref else ""
        field = f", field {self.field}" if self.field else ""
        return f"{self.severity.value} {self.code}: {self.message}\n  at   {self.origin}{owner}{field}\n  fix  {self.remedy}"


# Codes by hundred: 10xx documents, 11xx objects, 12xx references and routes, 13xx the Mesh kind, 14xx Envoy resources,
# 15xx store and API, 16xx agent and capture, 17xx command line and configuration.
# Each folder declares the codes that it raises here, so that one list is the reference.
CODES: Final[MappingProxyType[str, str]] = MappingProxyType(
    {
        "WFT-1001": "document too large",
        "WFT-1002": "document nested too deeply",
        "WFT-1003": "too many aliases",
        "WFT-1004": "not valid YAML or JSON",
        "WFT-1005": "duplicate key",
        "WFT-1006": "not UTF-8 text",
        "WFT-1007": "tag not allowed",
        "WFT-1008": "document is not a mapping",
        "WFT-1009": "file cannot be read",
        "WFT-1101": "unknown kind",
        "WFT-1102": "unknown field",
        "WFT-1103": "wrong type",
        "WFT-1104": "required field missing",
        "WFT-1105": "value not allowed",
        "WFT-1106": "not a valid name",
        "WFT-1107": "not a valid regular expression",
        "WFT-1108": "field is not supported",
        "WFT-1109": "unknown label or annotation of ours",
        "WFT-1110": "object written twice",
        "WFT-1111": "field has no effect",
        "WFT-1112": "key set that cannot be used",
        "WFT-1113": "condition that is not known",
        "WFT-1114": "annotation that cannot be read",
        "WFT-1115": "policy that never holds",
        "WFT-1116": "value that nothing matches",
        "WFT-1201": "route without a parent",
        "WFT-1202": "hostnames on a route of the mesh",
        "WFT-1203": "backend does not exist",
        "WFT-1204": "service has no such port",
        "WFT-1205": "reference to another namespace is not permitted",
        "WFT-1206": "kind of backend is not known",
        "WFT-1207": "backend does not speak HTTP",
        "WFT-1208": "kind of parent is not known",
        "WFT-1209": "filter is not supported",
        "WFT-1210": "parent does not exist",
        "WFT-1211": "service is declared twice",
        "WFT-1212": "appProtocol is not known",
        "WFT-1213": "address belongs to another service",
        "WFT-1214": "external host belongs to another service",
        "WFT-1215": "Mesh documents disagree",
        "WFT-1216": "needed service does not exist",
        "WFT-1217": "gateway has no such listener",
        "WFT-1218": "gateway of another class",
        "WFT-1219": "listener protocol is not served",
        "WFT-1220": "kind of route is not supported",
        "WFT-1221": "gateway addresses cannot be chosen",
        "WFT-1222": "listener does not take this namespace",
        "WFT-1223": "no hostname in common",
        "WFT-1224": "name of a Gateway is taken",
        "WFT-1225": "policy selects nothing",
        "WFT-1226": "provider is not known",
        "WFT-1227": "target does not exist",
        "WFT-1228": "another policy of the same place is older",
        "WFT-1229": "policy has no effect where it stands",
        "WFT-1230": "rule asks a connection about requests",
        "WFT-1231": "port that no workload has",
        "WFT-1232": "identity that nobody has",
        "WFT-1233": "address that is not seen there",
        "WFT-1234": "traffic description does not exist",
        "WFT-1235": "keys of an issuer could not be had",
        "WFT-1236": "external authorizer for connections",
        "WFT-1237": "provider that cannot be asked",
        "WFT-1238": "policy for a workload without a proxy",
        "WFT-1239": "rule asks about tokens that nobody checks",
        "WFT-1240": "rule changes nothing",
        "WFT-1241": "rule is overridden by a denial",
        "WFT-1242": "port that other hosts cannot reach",
        "WFT-1243": "two versions with processes of one name",
        "WFT-1244": "service account of a proxy",
        "WFT-1250": "calls that nothing leads",
        "WFT-1255": "server name that nobody asks for",
        "WFT-1256": "mode for a port that no workload has",
        "WFT-1257": "issuer whose tokens nobody checks",
        "WFT-1265": "too many requests at a time",
        "WFT-1301": "version without a command",
        "WFT-1302": "health check without its port",
        "WFT-1303": "exposure that cannot work",
        "WFT-1304": "external service that cannot be reached as written",
        "WFT-1305": "name of a service and of an external service",
        "WFT-1306": "command that cannot be split",
        "WFT-1307": "service that needs itself",
        "WFT-1308": "needed service probably misspelt",
        "WFT-1309": "include outside a file",
        "WFT-1310": "provider that is asked in no way, or in two",
        "WFT-1501": "the store is a database of another program",
        "WFT-1502": "the store is damaged",
        "WFT-1503": "data directory is in use",
        "WFT-1504": "the store cannot be written",
        "WFT-1505": "object has changed since it was read",
        "WFT-1506": "field belongs to another writer",
        "WFT-1507": "object exists already",
        "WFT-1508": "no such object",
        "WFT-1509": "revision is not known",
        "WFT-1510": "the store was written by a newer weft",
        "WFT-1511": "request too large",
        "WFT-1512": "request is not valid",
        "WFT-1513": "not allowed",
        "WFT-1514": "no such path",
        "WFT-1515": "document does not belong to this path",
        "WFT-1516": "file looks cut short",
        "WFT-1517": "included file is refused",
        "WFT-1518": "host report drops everything that serves",
        "WFT-1519": "method or media type is not supported",
        "WFT-1520": "the control plane is not ready",
        "WFT-1521": "the store is gone",
        "WFT-1401": "Envoy would refuse what was made from it",
        "WFT-1402": "leads to a cluster that does not exist",
        "WFT-1403": "refused by a proxy",
        "WFT-1404": "removal of most of a proxy's configuration waits",
        "WFT-1430": "Envoy would refuse what guards a port",
        "WFT-1431": "policy that has ended",
        "WFT-1601": "directory is not private",
        "WFT-1602": "path too long for a socket",
        "WFT-1603": "another agent uses this state",
        "WFT-1604": "capture mode does not work here",
        "WFT-1605": "no Envoy to run",
        "WFT-1606": "no such process",
        "WFT-1607": "query is not understood",
        "WFT-1608": "admin request is not read-only",
        "WFT-1609": "proxy does not answer",
        "WFT-1610": "proxy was not upgraded",
        "WFT-1701": "weft does not run here",
        "WFT-1702": "weft belongs to another user",
        "WFT-1703": "weft does not answer",
        "WFT-1704": "the request was refused",
        "WFT-1705": "nothing has that name",
        "WFT-1706": "the edit cannot be used",
        "WFT-1707": "the network of a workload cannot be entered",
        "WFT-1708": "the command cannot be run",
        "WFT-1709": "weft did not start",
        "WFT-1710": "no manifests",
        "WFT-1711": "the context cannot do that",
        "WFT-1801": "the authority cannot write its state",
        "WFT-1802": "private key cannot be used",
        "WFT-1803": "the authority's journal is damaged",
        "WFT-1804": "certificate signing request refused",
        "WFT-1805": "identity of somebody else",
        "WFT-1806": "name cannot be part of an identity",
        "WFT-1807": "identity is banned",
        "WFT-1808": "CA cannot be plugged in",
        "WFT-1809": "step of the authority is not possible",
        "WFT-1810": "the authority is not ready",
        "WFT-1811": "not every proxy has followed",
        "WFT-1812": "bundle document is not valid",
        "WFT-1813": "bundle endpoint cannot be used",
        "WFT-1814": "trust domain cannot be federated with",
        "WFT-1815": "token is not a valid JWT-SVID",
        "WFT-1816": "authority nears its end",
        "WFT-1817": "audience is missing",
        "WFT-1840": "only root may change the user",
        "WFT-1841": "no such user on this host",
        "WFT-1860": "this host has not joined",
        "WFT-1861": "join token is not valid",
        "WFT-1862": "name cannot be a host's",
        "WFT-1863": "control's door cannot be believed",
        "WFT-1864": "host belongs to another mesh",
        "WFT-1865": "control's roots were replaced meanwhile",
        "WFT-1866": "host cannot join by this certificate",
        "WFT-1867": "certificate to join by cannot be used",
        "WFT-1880": "the audit log cannot be written",
        "WFT-1881": "the audit log is damaged",
        "WFT-1882": "a file of the control plane cannot be read",
        "WFT-1883": "nothing in the mesh has that name",
        "WFT-1884": "which port is meant",
        "WFT-1712": "the first ALLOW policy would deny everybody else",
        "WFT-1713": "the caller has no identity",
        "WFT-1750": "rule gets no request",
        "WFT-1751": "all weights are 0",
        "WFT-1752": "service selects no workload",
        "WFT-1753": "grant is not used",
    }
)


def nearest(name: str, known: list[str] | tuple[str, ...], limit: int = 3) -> tuple[str, ...]:
    """The known names that a misspelt ``name`` most likely meant, best first; empty when none is near."""
    from difflib import get_close_matches  # noqa: PLC0415 - start-up time: only a mistake needs it

    folded = {candidate.lower(): candidate for candidate in known}
    return tuple(folded[match] for match in get_close_matches(name.lower(), list(folded), n=limit, cutoff=0.6))
