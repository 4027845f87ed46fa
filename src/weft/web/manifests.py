"""Manifests that a request carries: one YAML stream, or several files that keep their names.

A bundle is JSON, ``{"manifests": [{"source": "shop/routes.yaml", "text": "..."}]}``, so that a problem which shows only
later, in the whole mesh, still says in which of the user's files it stands. Text that is not UTF-8 travels as Python's
surrogate escapes and is refused with its place, like that of a file.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from weft.api import include
from weft.api.document import MAX_BYTES, Document, Reading, read, read_all
from weft.web.answers import Refused, problem
from weft.web.context import body, place

if TYPE_CHECKING:
    from starlette.requests import Request

    from weft.errors import Problem

BUNDLE: Final = "application/vnd.weft.manifests+json"
MAX_BUNDLE: Final = 2 * MAX_BYTES
"""Bytes of a bundle, whose quotes and newlines are written as two characters. Its text together may have ``MAX_BYTES``."""

MAX_SOURCE: Final = 4096


async def documents(request: Request) -> tuple[list[Document], tuple[Problem, ...]]:
    """The documents of a body, and what is wrong with the rest of it. A document with an include did not come with its
    folder, so it is left out.
    """
    reading = await _reading(request)
    refused = {document.ref: include.refuse(document) for document in reading.documents}
    problems = tuple(each for found in refused.values() for each in found)
    return [document for document in reading.documents if not refused[document.ref]], (*reading.problems, *problems)


async def _reading(request: Request) -> Reading:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == BUNDLE:
        return read_all(_files(request, await body(request, MAX_BUNDLE)))
    return read(await body(request, MAX_BYTES), request.query_params.get("owner", "") or place(request))


def _files(request: Request, content: bytes) -> list[tuple[str, bytes]]:
    """Every file of a bundle as (name, content)."""
    try:
        files = [(each["source"], each["text"]) for each in json.loads(content)["manifests"]]
        found = [(_source(source), text.encode(errors="surrogateescape")) for source, text in files]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        message = f"the body is not a bundle of manifests ({type(error).__name__})"
        remedy = 'Send {"manifests": [{"source": NAME, "text": YAML}]}, or YAML as application/yaml'
        raise Refused(400, problem("WFT-1512", message, remedy, place(request))) from error
    if sum(len(text) for _, text in found) > MAX_BYTES:
        message = f"the manifests are larger than {MAX_BYTES:,} bytes together"
        raise Refused(413, problem("WFT-1511", message, "Send them in several requests", place(request)))
    return found


def _source(name: str) -> str:
    """A name that can be shown on one line."""
    return "".join(letter if letter.isprintable() else "?" for letter in name[:MAX_SOURCE]) or "unnamed"
