"""A mesh whose workloads are guarded as a test says: cart calls pay, and pay has guards."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from tests.support.compiled import bare, compiled, service, workload
from weft.model.trust import Action, Attribute, AuthPolicy, AuthRule, Guard, Question, Text, TextKind, Trust

if TYPE_CHECKING:
    from weft.model.mesh import Mesh

CART: Final = "spiffe://local/ns/default/sa/cart"
PAY: Final = "spiffe://local/ns/default/sa/pay"
POLICY: Final = """apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: pay, namespace: default}
spec:
  action: DENY
  rules:
  - from: [{source: {principals: [local/ns/default/sa/cart]}}]
"""
SOURCE: Final = "AuthorizationPolicy/default/pay"


def rule(number: int = 0, *principals: str) -> AuthRule:
    texts = tuple(Text(TextKind.EXACT, each) for each in principals)
    sources = ((Question(Attribute.PRINCIPAL, texts),),) if texts else ()
    return AuthRule(f"{SOURCE}/rules/{number}", sources)


def policy(action: Action, *principals: str, dry_run: bool = False) -> AuthPolicy:
    return AuthPolicy(SOURCE, action, (rule(0, *principals),), dry_run)


def mesh(*guards: tuple[str, Guard], banned: tuple[str, ...] = ()) -> Mesh:
    """cart-v1-0, pay-v1-0, pay-v1-1 and plain-0 (no proxy), each behind its service; guards by workload for port 8080."""
    made = compiled(
        *(service(name) for name in ("cart", "pay", "plain")),
        workloads=(
            workload("cart-v1-0", labels={"app": "cart"}, service_account="cart"),
            workload("pay-v1-0", labels={"app": "pay"}, service_account="pay"),
            workload("pay-v1-1", labels={"app": "pay"}, service_account="pay"),
            bare(workload("plain-0", labels={"app": "plain"})),
        ),
    ).mesh
    known = {("default", name): ((8080, guard),) for name, guard in guards}
    found = {key: known.get(key, ((8080, Guard()),)) for key in made.workloads}
    return msgspec.structs.replace(made, guards=MappingProxyType(found), trust=Trust(banned=banned))
