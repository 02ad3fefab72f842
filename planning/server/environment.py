"""Environment of a vLLM server, and the check of what a user adds to it."""

import re
from collections.abc import Mapping

from catalog.engine import Engine
from settings.problems import Problem

# HF_TOKEN, but not TOKENIZERS_PARALLELISM.
SECRET_NAME = re.compile(
    r"(TOKEN(_|$)|PASSWORD|PASSWD|SECRET|CREDENTIAL|(API|ACCESS|PRIVATE|ACCOUNT)_?KEY|CONNECTION_STRING)", re.IGNORECASE
)
# What Kubernetes replaces in arguments and values: a variable of the container; $$ is a plain $ (Kubernetes API, args).
REFERENCE = re.compile(r"\$\$|\$\((?P<name>[^()\s]+)\)")
# What the API server takes for the name of a variable.
VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def server_env(
    engine: Engine, *, startup_budget_s: int, cache_root: str, cpu_kv_cache_gib: int | None
) -> dict[str, str]:
    """Environment of a server: no internet, caches on the writable volume, its own start-up limit raised."""
    variables = engine.variables
    env = {
        variables["offline"]: "1",
        "HOME": cache_root,
        variables["user_name"]: "vllm",
        variables["torch_cache"]: f"{cache_root}/torchinductor",
        variables["triton_cache"]: f"{cache_root}/triton",
        variables["cache"]: f"{cache_root}/vllm",
        variables["ready_within_s"]: str(startup_budget_s),
        # one request may not ask for thousands of answers (CVE-2026-34756 and its kin)
        variables["most_answers"]: "64",
        variables["media_redirects"]: "0",
        variables["no_statistics"]: "1",
        "XDG_CACHE_HOME": f"{cache_root}/xdg",
    }
    if cpu_kv_cache_gib is not None:
        env[variables["cpu_kv_cache_gib"]] = str(cpu_kv_cache_gib)
    return env


def check_env(env: Mapping[str, str], managed: Mapping[str, str], engine: Engine, path: str) -> list[Problem]:
    """Environment variables a user adds: never a secret, never one the plan decides."""
    refused = {
        engine.health.address_env: "must be left out: every pod has an address of its own",
        engine.variables["development"]: "opens administrative endpoints; it is never set in production",
    }
    problems = []
    for name, value in env.items():
        problems += [Problem(f"{path}.{name}", text) for text in secrets_named(value)]
        if not VARIABLE_NAME.fullmatch(name):
            problems.append(Problem(f"{path}.{name}", f'"{name}" is not the name of an environment variable'))
        elif name in managed:
            problems.append(Problem(f"{path}.{name}", "is decided by the plan"))
        elif SECRET_NAME.search(name):
            problems.append(
                Problem(f"{path}.{name}", "looks like a secret; secrets never go into the environment here")
            )
        elif name in refused:
            problems.append(Problem(f"{path}.{name}", refused[name]))
    return problems


def secrets_named(text: str) -> list[str]:
    """Problems of a text in which Kubernetes would put the value of a secret, for everybody to read."""
    names = [match["name"] for match in REFERENCE.finditer(text) if match["name"]]
    return [
        f"$({name}) would be replaced by a secret; leave it out, or write $$({name}) for that very text"
        for name in names
        if SECRET_NAME.search(name)
    ]
