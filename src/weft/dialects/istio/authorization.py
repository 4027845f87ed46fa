"""One AuthorizationPolicy, as the model says it.

Source: Istio, AuthorizationPolicy reference, and "Trust Domain Migration" for aliases: ``cluster.local`` means our own trust
domain, and a principal of one of its names is one of all of them.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

import msgspec

from weft.api.istio_authorization import AuthorizationPolicy, Condition, Operation, Rule, Source, is_template, parse_key
from weft.dialects.policies import text
from weft.model.trust import Action, Attribute, AuthPolicy, AuthRule, Question, Text, TextKind
from weft.names import DOMAIN

if TYPE_CHECKING:
    from weft.values import Ref

_SCHEME: Final = "spiffe://"
NESTED: Final = "\0"
"""Between the parts of a claim's path."""


class Domains(msgspec.Struct, frozen=True, cache_hash=True):
    """The names of our own trust domain."""

    own: str
    aliases: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        return (self.own, *(alias for alias in self.aliases if alias != self.own))


def read_policy(ref: Ref, written: AuthorizationPolicy, domains: Domains) -> AuthPolicy:
    """The policy, without its provider: who that is, other objects say."""
    reader = _Reader(ref.namespace, domains)
    rules = tuple(reader.rule(f"{ref.path}/rules/{index}", rule) for index, rule in enumerate(written.spec.rules))
    return AuthPolicy(ref.path, Action(written.spec.action), rules, written.dry_run)


class _Reader:
    """Everything that reading a rule depends on."""

    def __init__(self, namespace: str, domains: Domains) -> None:
        self.namespace = namespace
        self.domains = domains

    def rule(self, source: str, rule: Rule) -> AuthRule:
        return AuthRule(
            source,
            tuple(self.source(each.source) for each in rule.from_),
            tuple(_operation(each.operation) for each in rule.to),
            tuple(self.condition(each) for each in rule.when),
        )

    def source(self, source: Source) -> tuple[Question, ...]:
        return _asked(
            self.question(Attribute.PRINCIPAL, source.principals, source.not_principals),
            self.question(Attribute.REQUEST_PRINCIPAL, source.request_principals, source.not_request_principals),
            self.question(Attribute.NAMESPACE, source.namespaces, source.not_namespaces),
            self.question(Attribute.SERVICE_ACCOUNT, source.service_accounts, source.not_service_accounts),
            self.question(Attribute.TRUST_DOMAIN, source.trust_domains, source.not_trust_domains),
            self.question(Attribute.IP_BLOCK, source.ip_blocks, source.not_ip_blocks),
            self.question(Attribute.REMOTE_IP_BLOCK, source.remote_ip_blocks, source.not_remote_ip_blocks),
        )

    def condition(self, condition: Condition) -> Question:
        key = parse_key(condition.key)
        attribute = Attribute(key.name if key else condition.key)
        inside = key.inside if key else ()
        name = inside[0].lower() if attribute is Attribute.HEADER else NESTED.join(inside)
        if attribute is Attribute.HEADER and name in _HOST:
            return Question(Attribute.HOST, _hosts(condition.values), _hosts(condition.not_values))
        if attribute is Attribute.HEADER and name == ":method":
            return Question(Attribute.METHOD, _texts(condition.values), _texts(condition.not_values))
        return self.question(attribute, condition.values, condition.not_values, name)

    def question(
        self, attribute: Attribute, values: tuple[str, ...], not_values: tuple[str, ...], name: str = ""
    ) -> Question:
        return Question(attribute, self.values(attribute, values), self.values(attribute, not_values), name)

    def values(self, attribute: Attribute, values: tuple[str, ...]) -> tuple[Text, ...]:
        if attribute is Attribute.PRINCIPAL:
            return tuple(dict.fromkeys(each for value in values for each in self.principal(value)))
        if attribute is Attribute.SERVICE_ACCOUNT:
            named = (value if "/" in value else f"{self.namespace}/{value}" for value in values)
            return tuple(Text(TextKind.EXACT, value) for value in named)
        if attribute is Attribute.TRUST_DOMAIN:
            return tuple(dict.fromkeys(text(each) for value in values for each in self.names(value)))
        if attribute in _BLOCKS:
            return tuple(Text(TextKind.EXACT, str(ipaddress.ip_network(value, strict=False))) for value in values)
        if attribute is Attribute.PORT:
            return tuple(Text(TextKind.EXACT, str(int(value))) for value in values)
        return tuple(text(value) for value in values)

    def names(self, domain: str) -> tuple[str, ...]:
        """A trust domain, or all names of ours if it is one of them."""
        return self.domains.all if domain == DOMAIN or domain in self.domains.all else (domain,)

    def principal(self, value: str) -> tuple[Text, ...]:
        """A principal under every name of its trust domain."""
        domain, slash, rest = value.partition("/")
        names = self.names(domain) if slash else (domain,)
        if domain.startswith("*") and len(domain) > 1 and any(each.endswith(domain[1:]) for each in self.domains.all):
            # Some of our names end so: the others are the same trust domain. Source: Istio.
            names = (domain, *(each for each in self.domains.all if slash and not each.endswith(domain[1:])))
        found = (text(f"{name}{slash}{rest}") for name in names)
        return tuple(
            msgspec.structs.replace(each, value=f"{_SCHEME}{each.value}")
            if each.kind in (TextKind.EXACT, TextKind.PREFIX)
            else each
            for each in found
        )


_HOST: Final = ("host", ":authority")
"""Names of the host as a header: it has the same spellings there."""
_BLOCKS: Final = frozenset({Attribute.IP_BLOCK, Attribute.REMOTE_IP_BLOCK, Attribute.DESTINATION_IP})


def _operation(operation: Operation) -> tuple[Question, ...]:
    return _asked(
        Question(Attribute.HOST, _hosts(operation.hosts), _hosts(operation.not_hosts)),
        Question(Attribute.PORT, _exact(operation.ports), _exact(operation.not_ports)),
        Question(Attribute.METHOD, _texts(operation.methods), _texts(operation.not_methods)),
        Question(Attribute.PATH, _paths(operation.paths), _paths(operation.not_paths)),
    )


def _asked(*questions: Question) -> tuple[Question, ...]:
    return tuple(question for question in questions if question.any_of or question.none_of)


def _texts(values: tuple[str, ...]) -> tuple[Text, ...]:
    return tuple(text(value) for value in values)


def _hosts(values: tuple[str, ...]) -> tuple[Text, ...]:
    return tuple(text(value.lower()) for value in values)


def _exact(values: tuple[str, ...]) -> tuple[Text, ...]:
    return tuple(Text(TextKind.EXACT, str(int(value))) for value in values)


def _paths(values: tuple[str, ...]) -> tuple[Text, ...]:
    return tuple(Text(TextKind.TEMPLATE, value) if is_template(value) else text(value) for value in values)
