"""Policies as users write them mean what Istio says: a second reading of the documents, compared with the compiled
mesh as ``weft can`` reads it (and tests/attacks/test_oracle_attributes.py compares that with Envoy).

The reading here knows nothing of weft: it takes the dictionaries of YAML and a call. Where Istio leaves a doubt (a namespace of
another trust domain, a subject with a slash), weft refuses; so what weft allows Istio allows, and without a doubt they agree.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.policies import both
from weft.api.decode import decode
from weft.api.document import read
from weft.dialects.compile import compile_world
from weft.dialects.values import Input
from weft.explain.authz import decide
from weft.explain.call import Call
from weft.memo import Memo
from weft.model.service import HostReport
from weft.model.trust import Guard, TlsMode, Trust

if TYPE_CHECKING:
    from collections.abc import Iterable

Document = dict[str, Any]
Matches = Callable[[str, Call], bool]
HTTP_PORT, TCP_PORT = 8080, 6379
ROOT: Final = "istio-system"
HOST: Final = HostReport(
    host="here", workloads=(both("echo", service_account="a", labels=(("app", "echo"), ("tier", "x"))),)
)

# --- the second reading


def is_value(value: str, said: str) -> bool:
    if value == "*":
        return said != ""
    if value.startswith("*"):
        return said.endswith(value[1:])
    return said.startswith(value[:-1]) if value.endswith("*") else said == value


def is_path(value: str, said: str) -> bool:
    if "{*}" not in value and "{**}" not in value:
        return is_value(value, said)
    letters = r"[a-zA-Z0-9\-._~%!$&'()+,;:@=*"
    pattern = re.escape(value).replace(r"\{\*\*\}", f"{letters}/]*").replace(r"\{\*\}", f"{letters}]+")
    return re.fullmatch(pattern, said) is not None


def is_principal(value: str, call: Call) -> bool:
    domain, slash, rest = value.partition("/")
    named = f"local/{rest}" if slash and domain == "cluster.local" else value
    return bool(call.caller) and is_value(named, call.caller.removeprefix("spiffe://"))


def is_namespace(value: str, call: Call) -> bool:
    star = "[^/]+" if value == "*" else re.escape(value).replace(r"\*", "[^/]*")
    return re.fullmatch(f".*/ns/{star}/.*", call.caller) is not None


def is_account(value: str, call: Call) -> bool:
    namespace, slash, name = value.partition("/")
    namespace, name = (namespace, name) if slash else ("", namespace)
    return re.fullmatch(f"spiffe://.+/ns/{namespace}/(.+/|)sa/{name}(/.+)?", call.caller) is not None


def is_domain(value: str, call: Call) -> bool:
    domain = call.caller.removeprefix("spiffe://").partition("/")[0]
    return bool(call.caller) and is_value("local" if value == "cluster.local" else value, domain)


def is_request_principal(value: str, call: Call) -> bool:
    """The issuer ends at the value's last slash."""
    if not call.tokens or not call.tokens[0].get("sub"):
        return False
    issuer, subject = str(call.tokens[0]["iss"]), str(call.tokens[0]["sub"])
    wanted, slash, who = value.rpartition("/")
    if value == "*":
        return True
    if value.startswith("*"):
        return issuer.endswith(wanted[1:]) and subject == who if slash else subject.endswith(value[1:])
    if value.endswith("*"):
        return issuer == wanted and subject.startswith(who[:-1]) if slash else issuer.startswith(value[:-1])
    return issuer == wanted and subject == who


def is_claim(path: list[str]) -> Matches:
    def holds(value: str, call: Call) -> bool:
        found: Any = call.tokens[0] if call.tokens else None
        for part in path:
            found = found.get(part) if isinstance(found, dict) else None
        texts = found if isinstance(found, list) else [found]
        return any(isinstance(each, str) and is_value(value, each) for each in texts)

    return holds


def is_header(name: str) -> Matches:
    def holds(value: str, call: Call) -> bool:
        said = [each for key, each in call.headers if key == name]
        return bool(said) and (value == "*" or is_value(value, ",".join(said)))

    return holds


REQUESTS: Final = ("requestPrincipals", "hosts", "methods", "paths", "request.")
"""Only requests have these."""
FIELDS: Final[dict[str, Matches]] = {
    "principals": is_principal,
    "namespaces": is_namespace,
    "serviceAccounts": is_account,
    "trustDomains": is_domain,
    "requestPrincipals": is_request_principal,
    "hosts": lambda value, call: is_value(value.lower(), call.host.lower()),
    "methods": lambda value, call: is_value(value, call.method),
    "paths": lambda value, call: is_path(value, call.path),
    "ports": lambda value, call: value == str(call.port),
}
KEYS: Final[dict[str, Matches]] = {
    "source.principal": is_principal,
    "source.namespace": is_namespace,
    "source.serviceAccount": is_account,
    "source.trustDomain": is_domain,
    "request.auth.principal": is_request_principal,
    "request.auth.audiences": is_claim(["aud"]),
    "request.auth.presenter": is_claim(["azp"]),
    "request.auth.claims[realm][roles]": is_claim(["realm", "roles"]),
    "request.headers[team]": is_header("team"),
    "destination.port": lambda value, call: value == str(call.port),
}


class Asked:
    """One question: (values or nothing, negative values or nothing) about a field, or about a key of ``when``."""

    def __init__(self, name: str, values: list[str] | None, none: list[str] | None, namespace: str) -> None:
        self.name = name
        self.values = self._named(values or [], namespace)
        self.none = self._named(none or [], namespace)

    def _named(self, values: list[str], namespace: str) -> list[str]:
        """A service account without a namespace is one of the policy's."""
        is_own = self.name in ("serviceAccounts", "source.serviceAccount")
        return [f"{namespace}/{each}" if is_own and "/" not in each else each for each in values]

    @property
    def of_requests(self) -> bool:
        return bool(self.values or self.none) and self.name.startswith(REQUESTS)

    def holds(self, call: Call) -> bool:
        is_it = FIELDS.get(self.name) or KEYS[self.name]
        wanted = not self.values or any(is_it(value, call) for value in self.values)
        return wanted and not any(is_it(value, call) for value in self.none)


class Rule:
    def __init__(self, rule: Document, namespace: str) -> None:
        def group(found: Document) -> list[Asked]:
            negative = {name: f"not{name[0].upper()}{name[1:]}" for name in FIELDS}
            return [Asked(name, found.get(name), found.get(other), namespace) for name, other in negative.items()]

        self.sources = [group(each["source"]) for each in rule.get("from", ())]
        self.operations = [group(each["operation"]) for each in rule.get("to", ())]
        self.when = [
            Asked(each["key"], each.get("values"), each.get("notValues"), namespace) for each in rule.get("when", ())
        ]

    def holds(self, call: Call, *, allows: bool) -> bool:
        """Of a connection a rule that asks what only requests have allows nothing; else that is left out."""
        groups = [*self.sources, *self.operations, self.when]
        if allows and not call.http and any(each.of_requests for group in groups for each in group):
            return False

        def all_of(group: Iterable[Asked]) -> bool:
            return all(each.holds(call) for each in group if call.http or not each.of_requests)

        return (
            (not self.sources or any(map(all_of, self.sources)))
            and (not self.operations or any(map(all_of, self.operations)))
            and all_of(self.when)
        )


def applies(document: Document) -> bool:
    """To the workload ``echo`` of namespace ``default``."""
    labels = document["spec"].get("selector", {}).get("matchLabels", {})
    in_mesh = document["metadata"]["namespace"] in ("default", ROOT)
    return in_mesh and labels.items() <= {"app": "echo", "tier": "x"}.items()


def allowed(documents: list[Document], call: Call) -> bool:
    """DENY before ALLOW; once there is an ALLOW policy, what none of them allows is refused."""
    allowing = []
    denied = False
    for document in documents:
        spec, metadata = document["spec"], document["metadata"]
        if not applies(document) or metadata["annotations"].get("istio.io/dry-run") == "true":
            continue
        allows = spec.get("action", "ALLOW") == "ALLOW"
        held = any(Rule(each, metadata["namespace"]).holds(call, allows=allows) for each in spec.get("rules", ()))
        denied = denied or (held and not allows)
        allowing += [held] if allows else []
    return not denied and (any(allowing) or not allowing)


# --- documents and calls

VALUES: Final[dict[str, tuple[str, ...]]] = {
    "principals": ("*", "local/ns/a/sa/b", "cluster.local/ns/a/sa/b", "local/ns/a/*", "*/sa/b", "other/ns/a/sa/b"),
    "namespaces": ("*", "a", "a*", "*b", "default"),
    "serviceAccounts": ("b", "a/b", "ab/b"),
    "trustDomains": ("*", "local", "cluster.local", "oth*"),
    "requestPrincipals": (
        *("*", "https://i/ann", "https://i/*", "*/ann", "https*", "*n"),
        *("https://i/x/ann", "https://i/x/*"),
    ),
    "hosts": ("*", "pay.example", "*.example", "PAY.*"),
    "methods": ("*", "GET", "P*", "*T"),
    "paths": ("*", "/a", "/a/*", "*/b", "/{*}", "/a/{*}", "/{**}/b", "/a/{**}"),
    "ports": ("8080", "6379"),
}
WHEN: Final[dict[str, tuple[str, ...]]] = {
    "source.principal": VALUES["principals"],
    "source.namespace": VALUES["namespaces"],
    "source.serviceAccount": VALUES["serviceAccounts"],
    "source.trustDomain": VALUES["trustDomains"],
    "request.auth.principal": VALUES["requestPrincipals"],
    "request.auth.audiences": ("shop", "*", "b*"),
    "request.auth.presenter": ("app", "*"),
    "request.auth.claims[realm][roles]": ("ops", "o*", "*"),
    "request.headers[team]": ("red", "re*", "*ed", "*"),
    "destination.port": VALUES["ports"],
}
SOURCE: Final = ("principals", "namespaces", "serviceAccounts", "trustDomains", "requestPrincipals")


def both_ways(names: tuple[str, ...]) -> st.SearchStrategy[Document]:
    """One or two fields, each positive or negative."""

    def one(name: str) -> st.SearchStrategy[Document]:
        values = st.lists(st.sampled_from(VALUES[name]), min_size=1, max_size=2)
        spelled = st.sampled_from((name, f"not{name[0].upper()}{name[1:]}"))
        return st.tuples(spelled, values).map(lambda found: {found[0]: found[1]})

    return st.lists(st.sampled_from(names).flatmap(one), min_size=1, max_size=2).map(alone)


def alone(found: list[Document]) -> Document:
    """Service accounts stand beside neither principals nor namespaces."""
    joined = {name: values for each in found for name, values in each.items()}
    if not any("ccounts" in name for name in joined):
        return joined
    others = ("principals", "notPrincipals", "namespaces", "notNamespaces")
    return {name: values for name, values in joined.items() if name not in others}


def condition(key: str) -> st.SearchStrategy[Document]:
    some = st.lists(st.sampled_from(WHEN[key]), min_size=1, max_size=2)
    return st.fixed_dictionaries({"key": st.just(key), "values": some}) | st.fixed_dictionaries(
        {"key": st.just(key), "notValues": some}, optional={"values": some}
    )


RULES = st.fixed_dictionaries(
    {},
    optional={
        "from": st.lists(st.fixed_dictionaries({"source": both_ways(SOURCE)}), max_size=2),
        "to": st.lists(
            st.fixed_dictionaries({"operation": both_ways(("hosts", "methods", "paths", "ports"))}), max_size=2
        ),
        "when": st.lists(st.sampled_from(sorted(WHEN)).flatmap(condition), max_size=2),
    },
)
POLICIES = st.builds(
    lambda namespace, action, rules, labels, dry_run: {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"namespace": namespace, "annotations": {"istio.io/dry-run": "true"} if dry_run else {}},
        "spec": {
            "action": action,
            **({"rules": rules} if rules is not None else {}),
            **({"selector": {"matchLabels": labels}} if labels is not None else {}),
        },
    },
    st.sampled_from(("default", "default", ROOT, "elsewhere")),
    st.sampled_from(("ALLOW", "DENY")),
    st.none() | st.lists(RULES, max_size=2),
    st.sampled_from((None, None, {}, {"app": "echo"}, {"app": "echo", "tier": "x"}, {"app": "other"})),
    st.sampled_from((False, False, False, True)),
)
CALLERS: Final = (
    *("", "spiffe://local/ns/a/sa/b", "spiffe://local/ns/ab/sa/b", "spiffe://local/ns/default/sa/b"),
    "spiffe://other/ns/a/sa/b",
)
CALLS = st.builds(
    lambda caller, port, method, path, host, headers, tokens: Call(
        caller=caller,
        port=port,
        http=port == HTTP_PORT,
        method=method,
        path=path,
        host=host,
        headers=headers,
        tokens=tokens,
    ),
    st.sampled_from(CALLERS),
    st.sampled_from((HTTP_PORT, HTTP_PORT, TCP_PORT)),
    st.sampled_from(("GET", "POST")),
    st.sampled_from(("/", "/a", "/a/", "/a/b", "/a/c/b")),
    st.sampled_from(("pay.example", "Pay.Example", "other")),
    st.sampled_from(((), (("team", "red"),), (("team", "blue"),), (("team", ""),))),
    st.sampled_from(
        (
            (),
            ({"iss": "https://i", "sub": "ann", "aud": ["shop", "bank"], "azp": "app", "realm": {"roles": ["ops"]}},),
            ({"iss": "https://i", "sub": "x/ann", "aud": "shop", "realm": {"roles": "ops"}},),
            ({"iss": "https://i/x", "sub": "ann", "realm": "ops"},),
        )
    ),
)


def guards(documents: list[Document]) -> dict[int, Guard]:
    for number, document in enumerate(documents):
        document["metadata"]["name"] = f"p{number}"
    found = [
        decode(each)
        for number, document in enumerate(documents)
        for each in read(json.dumps(document).encode(), f"/{number}.yaml").documents
    ]
    assert all(each.object is not None for each in found), [each.problems for each in found]
    objects = tuple(sorted(found, key=lambda each: each.document.ref))
    return dict(compile_world(Input(objects, (HOST,)), Memo()).mesh.guards["default", "echo"])


def is_doubtful(call: Call) -> bool:
    """What Istio reads in one way and an application may read in another: weft refuses it either way."""
    return (
        call.caller.startswith("spiffe://other/")
        or any("/" in each["sub"] or each["iss"] == "https://i/x" for each in call.tokens)
        or ("team", "") in call.headers
    )


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(POLICIES, min_size=1, max_size=3), st.lists(CALLS, min_size=1, max_size=8))
def test_what_is_compiled_means_what_the_documents_say(documents: list[Document], calls: list[Call]) -> None:
    made = guards(documents)
    for call in calls:
        guard = made[call.port]
        assert guard.mode is TlsMode.PERMISSIVE
        found = decide(guard, call, Trust(federated=("other",)))
        meant = allowed(documents, call)
        assert meant or not found.allowed, (call, found.steps)
        assert found.allowed or not meant or is_doubtful(call), (call, found.steps)
