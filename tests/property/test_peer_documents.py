"""PeerAuthentications as users write them mean what Istio says: a second reading of them agrees with the compiled modes."""

from __future__ import annotations

import json
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.policies import both
from weft.api.decode import decode
from weft.api.document import read
from weft.dialects.compile import compile_world
from weft.dialects.values import Input
from weft.memo import Memo
from weft.model.service import HostReport

Document = dict[str, Any]
LABELS: Final = {"app": "echo", "tier": "x"}
HOST: Final = HostReport(host="here", workloads=(both("echo", labels=tuple(sorted(LABELS.items()))),))
ROOT: Final = "istio-system"
MODES = st.sampled_from(("UNSET", "DISABLE", "PERMISSIVE", "STRICT")).map(lambda mode: {"mode": mode})
PLACES = st.one_of(
    st.fixed_dictionaries({}, optional={"mtls": MODES}),
    st.fixed_dictionaries(
        {
            "selector": st.sampled_from(({"app": "echo"}, {"tier": "x"}, LABELS, {"app": "other"})).map(
                lambda labels: {"matchLabels": labels}
            )
        },
        optional={
            "mtls": MODES,
            "portLevelMtls": st.dictionaries(st.sampled_from(("8080", "6379", "80")), MODES, min_size=1),
        },
    ),
)
WORLDS = st.lists(st.tuples(st.sampled_from(("default", "default", ROOT, "elsewhere")), PLACES), max_size=6).flatmap(
    lambda found: st.permutations(range(len(found))).map(
        lambda ages: [
            {
                "apiVersion": "security.istio.io/v1",
                "kind": "PeerAuthentication",
                "metadata": {
                    "name": f"p{number}",
                    "namespace": namespace,
                    "creationTimestamp": f"2026-01-0{age + 1}T00:00:00Z",
                },
                "spec": spec,
            }
            for number, ((namespace, spec), age) in enumerate(zip(found, ages, strict=True))
        ]
    )
)


def oldest(documents: list[Document]) -> Document:
    found = sorted(documents, key=lambda each: str(each["metadata"]["creationTimestamp"]))
    return dict(found[0]["spec"]) if found else {}


def meant(documents: list[Document], port: str) -> str:
    """The mesh, the namespace, the workload, its port: each says it anew unless it is unset. Of each the oldest alone counts."""

    def of(namespace: str, *, selecting: bool) -> Document:
        return oldest(
            [
                each
                for each in documents
                if each["metadata"]["namespace"] == namespace
                and bool(each["spec"].get("selector")) is selecting
                and each["spec"].get("selector", {}).get("matchLabels", {}).items() <= LABELS.items()
            ]
        )

    workload = of("default", selecting=True)
    mode = "PERMISSIVE"
    for said in (of(ROOT, selecting=False), of("default", selecting=False), workload):
        mode = _set(said.get("mtls"), mode)
    return _set(workload.get("portLevelMtls", {}).get(port), mode)


def _set(said: Document | None, before: str) -> str:
    mode = (said or {}).get("mode", "UNSET")
    return before if mode == "UNSET" else str(mode)


@settings(max_examples=100, deadline=None)
@given(WORLDS)
def test_the_mode_of_each_port_is_what_the_documents_say(documents: list[Document]) -> None:
    found = [
        decode(each)
        for number, document in enumerate(documents)
        for each in read(json.dumps(document).encode(), f"/{number}.yaml").documents
    ]
    assert all(each.object is not None for each in found), [each.problems for each in found]
    objects = tuple(sorted(found, key=lambda each: each.document.ref))
    made = dict(compile_world(Input(objects, (HOST,)), Memo()).mesh.guards["default", "echo"])
    assert {str(port): guard.mode.value for port, guard in made.items()} == {
        port: meant(documents, port) for port in ("8080", "6379")
    }
