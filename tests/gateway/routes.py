"""Every route of the pinned LiteLLM, asked of its own app in a process of its own."""

import json
import subprocess
from functools import cache

from workshop.local.toolchain import VENV

# Routes of the app as it is built, and of what it builds when it is first asked for (proxy/_lazy_features.py), which
# LiteLLM ships a list of.
PROGRAM = """
import json, pathlib
import litellm.proxy
from litellm.proxy.proxy_server import app
found = {}
for route in app.routes:
    path = getattr(route, "path", "")
    found.setdefault(path, set()).update(getattr(route, "methods", None) or ({"GET"} if path else ()))
snapshot = pathlib.Path(litellm.proxy.__file__).with_name("_lazy_openapi_snapshot.json")
def paths(value):
    for key, item in value.items() if isinstance(value, dict) else ():
        if key.startswith("/") and isinstance(item, dict):
            found.setdefault(key, set()).update(method.upper() for method in item)
        else:
            paths(item)
paths(json.loads(snapshot.read_text()))
print(json.dumps({path: sorted(methods) for path, methods in found.items() if path}))
"""
METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}


@cache
def routes() -> tuple[tuple[str, str], ...]:
    """(method, path) of all, with `x` for every parameter, once each."""
    environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "PATH": "/usr/bin:/bin"}
    words = [str(VENV / "bin" / "python"), "-c", PROGRAM]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return tuple(sorted({(m, _filled(path)) for path, methods in found.items() for m in methods if m in METHODS}))


def _filled(path: str) -> str:
    """`/v1/models/x` of `/v1/models/{model_id}`."""
    while "{" in path:
        before, _, rest = path.partition("{")
        path = f"{before}x{rest.partition('}')[2]}"
    return path
