"""Environment of a vLLM server, and the check of what a user adds to it."""

from collections.abc import Mapping

from catalog.engine import Engine
from planning.stack.variables import variable_problems
from settings.problems import Problem

CACHE_ROOT = "/cache"


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
        engine.variables[
            "runtime_adapters"
        ]: "lets whoever reaches the pod load adapters without a key; write adapters",
    }
    problems = []
    for name, value in env.items():
        where = f"{path}.{name}"
        faults = list(variable_problems(name, value, managed, where))
        problems += faults
        if not faults and name in refused:
            problems.append(Problem(where, refused[name]))
    return problems
