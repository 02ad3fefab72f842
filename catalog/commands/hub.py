"""The files of a checkpoint that its entry needs, from the hub; a few kilobytes, no weights."""

import json
import os
from collections.abc import Mapping
from http.client import HTTPException
from typing import NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from settings.problems import Problem, Refused

HUB = "https://huggingface.co"
SECONDS = 20
# The largest index known has 20 MB; nothing here is larger.
MOST_BYTES = 64 * 2**20
CONFIG, INDEX, QUANTIZATION = "config.json", "model.safetensors.index.json", "hf_quant_config.json"


class Repository(NamedTuple):
    """A repository at one commit as the hub has it, and its files (None: it has no such file)."""

    revision: str
    license: str | None
    gated: bool
    weight_bytes: int | None
    config: Mapping[str, object]
    tensors: Mapping[str, object] | None
    quantization: Mapping[str, object] | None


class _SameHost(HTTPRedirectHandler):
    """The token goes to the hub, and to nobody that it sends us to."""

    def redirect_request(self, req: Request, *rest: object) -> Request | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        following = super().redirect_request(req, *rest)  # pyright: ignore[reportArgumentType]
        if following is not None and urlsplit(following.full_url).netloc != urlsplit(req.full_url).netloc:
            following.remove_header("Authorization")
        return following


def repository(name: str, revision: str | None) -> Repository:
    """Asks the hub at HF_ENDPOINT, with HF_TOKEN if it is there. Raises Refused with what to do."""
    at = quote(revision or "main", safe="")
    info = _json(f"api/models/{name}/revision/{at}?blobs=true", name)
    if info is None:
        raise Refused([Problem("--repo", f"the hub has no '{name}' at revision {revision or 'main'}")])
    commit = str(info.get("sha") or at)
    siblings = info.get("siblings")
    sizes = {
        str(file.get("rfilename")): file.get("size")
        for file in (siblings if isinstance(siblings, list) else [])
        if isinstance(file, Mapping)
    }
    files = {
        path: _json(f"{name}/resolve/{commit}/{path}", name) for path in (CONFIG, INDEX, QUANTIZATION) if path in sizes
    }
    config, index = files.get(CONFIG), files.get(INDEX)
    if config is None:
        raise Refused([Problem("--repo", f"'{name}' has no {CONFIG}")])
    card = info.get("cardData")
    licence = card.get("license") if isinstance(card, Mapping) else None
    return Repository(
        commit,
        licence if isinstance(licence, str) else None,
        info.get("gated") not in (None, False),
        _weight_bytes(sizes, index),
        config,
        index,
        files.get(QUANTIZATION),
    )


def _weight_bytes(sizes: Mapping[str, object], index: Mapping[str, object] | None) -> int | None:
    """Bytes of the safetensors that are loaded: of the index, else all at the top but copies in another layout."""
    mapped = index.get("weight_map") if index else None
    names = (
        set(mapped.values())
        if isinstance(mapped, Mapping)
        else {
            name
            for name in sizes
            if name.endswith(".safetensors") and "/" not in name and not name.startswith("consolidated")
        }
    )
    known = [size for name in names if isinstance(size := sizes.get(str(name)), int)]
    return sum(known) if known and len(known) == len(names) else None


def _json(path: str, name: str) -> Mapping[str, object] | None:
    """The mapping at a path of the hub; None: it is not there."""
    endpoint = os.environ.get("HF_ENDPOINT") or HUB
    token = os.environ.get("HF_TOKEN")
    request = Request(f"{endpoint.rstrip('/')}/{path}", headers={"User-Agent": "llm-stack"})  # noqa: S310 - as asked
    if urlsplit(request.full_url).scheme not in ("http", "https"):
        raise Refused([Problem("HF_ENDPOINT", f"'{endpoint}' is no address of a hub")])
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with build_opener(_SameHost).open(request, timeout=SECONDS) as answer:
            data = answer.read(MOST_BYTES + 1)
    except HTTPError as error:
        if error.code == 404:
            return None
        if error.code in (401, 403):
            fix = "accept its terms with the account of the token" if token else "set HF_TOKEN"
            raise Refused([Problem("--repo", f"the hub does not show '{name}' ({error.code}): {fix}")]) from None
        raise Refused([Problem("--hub", f"the hub answered {error.code} for '{name}'")]) from None
    except (URLError, HTTPException, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise Refused(
            [Problem("--hub", f"the hub at {endpoint} does not answer ({reason}); give the files with --config")]
        ) from None
    if len(data) > MOST_BYTES:
        raise Refused([Problem("--hub", f"{path} has more than {MOST_BYTES // 2**20} MiB")])
    try:
        content = json.loads(data)
    except ValueError:
        content = None
    if not isinstance(content, Mapping):
        raise Refused([Problem("--hub", f"{path} is no JSON object")])
    return content
