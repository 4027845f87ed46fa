"""Every field that a manifest may hold has an effect, a warning, a refusal, or a reason here why it needs none.

Everything below is compiled while each look at a field of a document is noted. A new field of a model that nothing
reads fails here, and so does a reason that is no longer needed.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, get_args

import pytest

from tests.support.compiled import workload
from tests.support.documents import examples
from weft.api import core, gateway, httproute, istio_authorization, istio_security, mesh, smi
from weft.api.base import Model, Refused
from weft.api.decode import decode
from weft.api.document import read
from weft.dialects.compile import compile_world
from weft.dialects.values import Input
from weft.memo import Memo
from weft.model.service import HostReport

if TYPE_CHECKING:
    import types
    from collections.abc import Iterator

KINDS: tuple[type[Model], ...] = (
    core.Service,
    core.EndpointSlice,
    core.Namespace,
    core.ServiceAccount,
    gateway.GatewayClass,
    gateway.Gateway,
    gateway.ReferenceGrant,
    httproute.HTTPRoute,
    istio_security.PeerAuthentication,
    istio_authorization.AuthorizationPolicy,
    istio_security.RequestAuthentication,
    smi.TrafficTarget,
    smi.HTTPRouteGroup,
    smi.TCPRoute,
    mesh.Mesh,
)

STORE = "kept, counted and compared by the store; the document's Ref carries it from there"
SERVER = "an API server's own bookkeeping"
KUBERNETES = "tells only Kubernetes what to do, and calls go the same way without it"
WARNED = "a warning says that it has no effect"
RULE = "checked when the document is read, and nothing more is to be done"
PROSE = "for the reader of the manifest"

REASONS = {
    "Object.apiVersion": STORE,
    "Object.kind": STORE,
    "Object.status": "written by weft, never read",
    "Metadata.name": STORE,
    "Metadata.namespace": STORE,
    "Metadata.resourceVersion": STORE,
    "Metadata.uid": STORE,
    "Metadata.generateName": SERVER,
    "Metadata.deletionTimestamp": SERVER,
    "Metadata.deletionGracePeriodSeconds": SERVER,
    "Metadata.ownerReferences": SERVER,
    "Metadata.finalizers": SERVER,
    "Metadata.managedFields": SERVER,
    "Metadata.selfLink": SERVER,
    "Namespace.spec": SERVER,
    "NamespaceSpec.finalizers": SERVER,
    "ServiceAccount.secrets": KUBERNETES,
    "ServiceAccount.imagePullSecrets": KUBERNETES,
    "ServiceAccount.automountServiceAccountToken": KUBERNETES,
    "EndpointSlice.addressType": RULE,
    "Endpoint.hostname": WARNED,
    "Endpoint.nodeName": SERVER,
    "Endpoint.targetRef": SERVER,
    "Endpoint.hints": SERVER,
    "Endpoint.deprecatedTopology": SERVER,
    "EndpointPort.appProtocol": "a copy of what the Service says, which is read there",
    "ServiceSpec.sessionAffinity": RULE,
    "ServiceSpec.sessionAffinityConfig": "belongs to the session affinity that is refused",
    "ServiceSpec.ipFamilies": KUBERNETES,
    "ServiceSpec.ipFamilyPolicy": KUBERNETES,
    "ServiceSpec.clusterIPs": WARNED,
    "ServiceSpec.allocateLoadBalancerNodePorts": WARNED,
    "ServiceSpec.externalIPs": WARNED,
    "ServiceSpec.externalTrafficPolicy": WARNED,
    "ServiceSpec.healthCheckNodePort": WARNED,
    "ServiceSpec.internalTrafficPolicy": WARNED,
    "ServiceSpec.loadBalancerClass": WARNED,
    "ServiceSpec.loadBalancerIP": WARNED,
    "ServiceSpec.loadBalancerSourceRanges": WARNED,
    "ServiceSpec.publishNotReadyAddresses": WARNED,
    "ServiceSpec.trafficDistribution": WARNED,
    "ServicePort.nodePort": WARNED,
    "GatewayClassSpec.description": PROSE,
    "GatewayClassSpec.parametersRef": "refused in classes of ours; those of others are not ours to read",
    "ParametersRef.group": "inside parametersRef",
    "ParametersRef.kind": "inside parametersRef",
    "ParametersRef.name": "inside parametersRef",
    "ParametersRef.namespace": "inside parametersRef",
    "GatewaySpec.infrastructure": WARNED,
    "Infrastructure.labels": WARNED,
    "Infrastructure.annotations": WARNED,
    "Health.tcp": "the check that there is without it",
    "ListenerTls.mode": "listeners with TLS are refused whole in this version",
    "ExtensionRef.group": "no extension is known, of whatever group",
    "PathModifier.type": "says which field beside it is read",
    "Rule.name": "what policies of a rule refer to; none of them is known in this version",
    "MeshSpec.include": "followed where files are read",
    "TargetRef.group": RULE,
    "Identity.kind": RULE,
    "TcpMatch.name": PROSE,
    "JwtRule.timeout": WARNED,
}


def models(model: type[Model]) -> Iterator[type[Model]]:
    """A model and all models inside it."""
    yield model
    for field in model.model_fields.values():
        for inner in _inside(field.annotation):
            yield from models(inner)


def _inside(annotation: Any) -> Iterator[type[Model]]:  # noqa: ANN401 - a type expression
    if isinstance(annotation, type) and issubclass(annotation, Model):
        yield annotation
    for part in get_args(annotation):
        yield from _inside(part)


def owner(model: type[Model], field: str) -> type[Model]:
    """The class in which a field is written down."""
    return next(base for base in reversed(model.__mro__) if field in getattr(base, "model_fields", {}))


def named(model: type[Model], field: str) -> str:
    base = owner(model, field)
    return f"{base.__name__}.{base.model_fields[field].alias or field}"


def every() -> dict[str, tuple[type[Model], str]]:
    return {
        named(model, field): (model, field)
        for kind in KINDS
        for model in models(kind)
        for field in model.model_fields
        if not any(isinstance(mark, Refused) for mark in model.model_fields[field].metadata)
    }


def _asks(frame: types.FrameType | None) -> bool:
    """Whether a compiler is who looks at a field, directly or through a property of its model."""
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("weft.dialects"):
            return True
        if not module.startswith(("weft.api", __name__)):
            return False
        frame = frame.f_back
    return False


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    found: set[str] = set()

    def look(self: Model, name: str) -> object:
        if not name.startswith("_") and name in type(self).model_fields and _asks(sys._getframe(1)):
            found.add(named(type(self), name))
        return object.__getattribute__(self, name)

    monkeypatch.setattr(Model, "__getattribute__", look)
    return found


def test_every_field_is_read_warned_about_or_has_its_reason(looked_at: set[str]) -> None:
    reading = read(EVERYTHING.encode(), "/shop/everything.yaml")
    assert [str(problem) for problem in reading.problems] == []
    objects = tuple(decode(document) for document in reading.documents)
    assert [str(problem) for each in objects if each.object is None for problem in each.problems] == []
    compile_world(Input(objects, (HostReport(host="here", workloads=(workload("web"),)),)), Memo())
    unread = set(every()) - looked_at
    assert sorted(unread - set(REASONS)) == []
    assert sorted(set(REASONS) - unread) == []


def test_what_the_reasons_call_a_warning_is_one() -> None:
    documents = read(WITHOUT_EFFECT.encode(), "/shop/kubernetes.yaml").documents
    warned = [problem for document in documents for problem in decode(document).problems]
    assert {problem.code for problem in warned} == {"WFT-1111"}
    fields = {problem.field.rpartition(".")[2] for problem in warned}
    wanted = {name.partition(".")[2] for name, reason in REASONS.items() if reason == WARNED}
    assert fields == wanted - {"labels", "annotations"}


WITHOUT_EFFECT = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: LoadBalancer
  clusterIP: 10.0.0.7
  clusterIPs: [10.0.0.7, 'fd00::7']
  ports: [{port: 80, nodePort: 30080}]
  publishNotReadyAddresses: true
  externalIPs: [192.0.2.1]
  loadBalancerIP: 192.0.2.2
  loadBalancerClass: example.com/lb
  loadBalancerSourceRanges: [192.0.2.0/24]
  allocateLoadBalancerNodePorts: false
  externalTrafficPolicy: Local
  internalTrafficPolicy: Local
  healthCheckNodePort: 30081
  trafficDistribution: PreferClose
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [10.1.0.1], hostname: web-0}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: weft
  infrastructure: {labels: {a: b}, annotations: {c: d}}
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens}
spec: {jwtRules: [{issuer: 'https://a.example', timeout: 5s}]}
"""

EVERYTHING = """
apiVersion: v1
kind: Namespace
metadata: {name: other, labels: {team: blue}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  clusterIP: 10.0.0.7
  ports: [{name: http, port: 80, targetPort: 8080, appProtocol: http, protocol: TCP}]
---
apiVersion: v1
kind: Service
metadata: {name: outside}
spec: {type: ExternalName, externalName: a.example, ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints:
- addresses: [10.1.0.1]
  conditions: {ready: false, serving: true, terminating: true}
  zone: a
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: mine}
spec: {controllerName: weft.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: mine
  addresses: [{type: weft.dev/host, value: here}]
  listeners:
  - {name: http, port: 80, protocol: HTTP, hostname: '*.example',
     allowedRoutes: {kinds: [{kind: HTTPRoute}], namespaces: {from: Selector, selector: {
       matchLabels: {team: blue}, matchExpressions: [{key: team, operator: In, values: [blue]}]}}}}
  - {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: a, namespace: other}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: grant, namespace: default}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: other}]
  to: [{group: '', kind: Service, name: web}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: all, namespace: other}
spec:
  parentRefs: [{name: edge, namespace: default, sectionName: http, port: 80}]
  hostnames: [a.example]
  rules:
  - matches:
    - {path: {type: PathPrefix, value: /a}, method: GET, headers: [{name: a, type: Exact, value: b}],
       queryParams: [{name: a, type: Exact, value: b}]}
    filters:
    - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: b}], add: [{name: b, value: b}], remove: [c]}}
    - {type: ResponseHeaderModifier, responseHeaderModifier: {remove: [c]}}
    - {type: RequestMirror, requestMirror: {percent: 5, backendRef: {name: web, namespace: default, port: 80}}}
    - {type: RequestMirror, requestMirror: {fraction: {numerator: 1, denominator: 3}, backendRef: {name: web, port: 80}}}
    - {type: URLRewrite, urlRewrite: {hostname: b.example, path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}}
    - {type: CORS, cors: {allowOrigins: ['*'], allowMethods: [GET], allowHeaders: [a], exposeHeaders: [b],
        allowCredentials: true, maxAge: 5}}
    - {type: ExtensionRef, extensionRef: {group: example.com, kind: Magic, name: a}}
    backendRefs: [{group: '', kind: Service, name: web, namespace: default, port: 80, weight: 1,
      filters: [{type: RequestHeaderModifier, requestHeaderModifier: {remove: [d]}}]}]
    timeouts: {request: 2s, backendRequest: 1s}
    retry: {codes: [500], attempts: 2, backoff: 10ms}
  - filters: [{type: RequestRedirect, requestRedirect: {scheme: https, hostname: c.example, port: 8443, statusCode: 301,
      path: {type: ReplaceFullPath, replaceFullPath: /c}}}]
---
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {name: shop}
spec:
  outboundTraffic: allowAny
  security:
    default: deny
    providers:
      opa: {grpc: {service: ratings, port: 9080, timeout: 1s, failOpen: true, statusOnError: 503,
        includeRequestBodyInCheck: {maxRequestBytes: 10, allowPartialMessage: true}}}
      ask: {http: {service: web.default, port: 80, pathPrefix: /check, includeRequestHeadersInCheck: [a],
        includeAdditionalHeadersInCheck: {b: c}, headersToUpstreamOnAllow: [d], headersToDownstreamOnAllow: [e],
        headersToDownstreamOnDeny: [f]}}
    trustDomainAliases: [old.example]
    jwks: {allow: [10.0.0.0/8]}
  defaults: {env: {A: b}, directory: sub}
  services:
    reviews:
      serviceAccount: reviews
      ports: [{name: http, port: 80, targetPort: 8080, protocol: http}]
      command: python a.py
      env: {A: c}
      directory: other
      replicas: 2
      needs: [ratings]
      health: {http: /ok, port: http, intervalSeconds: 2.0, timeoutSeconds: 1.0}
      capture: proxy
      identityHeader: true
      attest: {uid: 1000, gid: staff, exe: /usr/bin/python3, script: /srv/a.py, cgroup: /shop,
        sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855}
      versions: {v1: {command: python b.py, env: {B: c}, directory: v1, replicas: 1}, v2: {}}
      expose: {port: 8080, hostname: reviews.example, path: /r}
    ratings: {port: 9080, protocol: grpc, command: python c.py, health: {grpc: true}}
  external:
    db: {hostnames: [db.example], ports: [{port: 80, name: http, protocol: http}], endpoints: ['10.9.0.1:80'], tls: originate}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: asked}
spec: {action: CUSTOM, provider: {name: opa}, targetRefs: [{group: '', kind: Service, name: web, namespace: default}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: targeted, annotations: {istio.io/dry-run: 'true'}}
spec: {targetRef: {group: gateway.networking.k8s.io, kind: Gateway, name: edge}, rules: [{}]}
---
apiVersion: access.smi-spec.io/v1alpha1
kind: TrafficTarget
metadata: {name: first}
destination: {kind: ServiceAccount, name: web}
sources: [{kind: ServiceAccount, name: web}]
specs: [{kind: HTTPRouteGroup, name: first}]
---
apiVersion: specs.smi-spec.io/v1alpha1
kind: HTTPRouteGroup
metadata: {name: first}
matches: [{name: all, pathRegex: '.*', methods: ['*']}]
---
""" + "---\n".join(
    examples()[kind]
    for kind in (
        "PeerAuthentication",
        "AuthorizationPolicy",
        "RequestAuthentication",
        "TrafficTarget",
        "HTTPRouteGroup",
        "TCPRoute",
    )
)
