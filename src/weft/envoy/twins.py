"""Other names of a header that an application may take for it.

CGI, and what came after it (WSGI, Rack, PHP), makes ``HTTP_X_ROLE`` of ``x-role`` and of ``x_role``. HTTP knows two headers,
and both are allowed. Source: RFC 3875, section 4.1.18; RFC 9110, section 5.1.
"""

from __future__ import annotations

import itertools
from typing import Final

MOST_PARTS: Final = 5
"""Names of more parts have two twins at most, all dashes and all underscores, instead of one for each choice."""


def twins(name: str) -> tuple[str, ...]:
    """Without the name itself, sorted."""
    parts = name.replace("_", "-").split("-")
    if len(parts) == 1:
        return ()
    found = {"-".join(parts), "_".join(parts)}
    if len(parts) <= MOST_PARTS:
        for marks in itertools.product("-_", repeat=len(parts) - 1):
            found.add("".join(itertools.chain.from_iterable(zip(parts, (*marks, ""), strict=True))))
    return tuple(sorted(found - {name}))
