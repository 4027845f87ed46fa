"""What an application finds in its environment, by capture mode (docs/concepts/capture.md). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from weft.model.service import Capture

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weft.agent.accounts import Account
    from weft.model.mesh import ProcessSpec
    from weft.model.service import Address, BoundPort

PROXY_VARIABLES: Final = ("http_proxy", "HTTP_PROXY")
NO_PROXY: Final = "localhost,127.0.0.1,::1"
_OURS: Final = ("WEFT_", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID")
"""Beginnings of names that are meant for the agent and not for applications."""

_PROXIES: Final = frozenset({"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"})


def unproxied(variables: Mapping[str, str]) -> dict[str, str]:
    """An environment without a proxy of the machine's: that would be asked for the mesh's names, and know none."""
    return {key: value for key, value in variables.items() if key not in _PROXIES}


def spelled(name: str) -> str:
    """A name as a variable's: upper case, everything that is no letter or digit an underscore."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name).upper()


def bound_variables(spec: ProcessSpec, bound: tuple[BoundPort, ...]) -> dict[str, str]:
    """``REVIEWS_URL``, ``REVIEWS_HOST``, ``REVIEWS_PORT`` of each called service; further ports as
    ``REVIEWS_9090_URL``.
    """
    protocols = {(service, port): protocol for service, port, protocol in spec.bound}
    variables: dict[str, str] = {}
    for one in bound:
        protocol = protocols.get((one.service, one.port))
        scheme = "http" if protocol is None or protocol.is_http else "tcp"
        short = spelled(one.service.partition(".")[0])
        values = {
            "URL": f"{scheme}://{one.listen.ip}:{one.listen.port}",
            "HOST": one.listen.ip,
            "PORT": str(one.listen.port),
        }
        for key, value in values.items():
            variables.setdefault(f"{short}_{key}", value)
            variables[f"{short}_{one.port}_{key}"] = value
    return variables


def environment(
    inherited: Mapping[str, str],
    spec: ProcessSpec,
    capture: Capture,
    applications: Mapping[int, Address],
    outbound: Address | None,
    bound: tuple[BoundPort, ...],
    *,
    identity: str = "",
    account: Account | None = None,
) -> dict[str, str]:
    """The whole environment. What the user's specification says wins over everything but the ports that were chosen.

    ``applications`` maps each port number of the workload to the address where the application shall listen. ``identity`` is
    the socket of the Workload API, ``account`` the user that it becomes.
    """
    result = {key: value for key, value in inherited.items() if not key.startswith(_OURS)}
    if capture is not Capture.NONE:
        result = unproxied(result)
    if capture is Capture.PROXY and outbound is not None:
        result |= dict.fromkeys(PROXY_VARIABLES, f"http://{outbound.ip}:{outbound.port}")
        result |= dict.fromkeys(("no_proxy", "NO_PROXY"), NO_PROXY)
    if account is not None:
        result |= account.environment
    if identity:
        result["SPIFFE_ENDPOINT_SOCKET"] = f"unix://{identity}"
    result |= bound_variables(spec, bound)
    result |= dict(spec.environment)
    for index, port in enumerate(spec.ports):
        address = applications[port.number]
        if index == 0:
            result |= {"PORT": str(address.port), "HOST": address.ip}
        if port.name:
            result[f"PORT_{spelled(port.name)}"] = str(address.port)
    result |= {
        "WEFT_WORKLOAD": f"{spec.namespace}/{spec.name}",
        "WEFT_SERVICE": spec.service,
        "WEFT_VERSION": spec.version,
        "WEFT_CAPTURE": capture.value,
    }
    return result
