"""Command line and environment of a vLLM server, and the check of what a user adds to them."""

import re
from collections.abc import Mapping, Sequence

from catalog.load import Engine
from catalog.schema import KvProfile, Model
from planning.plan import Parallelism
from settings.problems import Problem, nearest

PORT = 8000
# Options the plan decides, and the setting that decides each; a user who writes one of them in `args` is sent there.
MANAGED = {
    "--model": "model",
    "--served-model-name": "the name of the model",
    "--host": "nothing: the server listens on all addresses",
    "--port": "nothing: the port is fixed",
    "--tensor-parallel-size": "tensorParallel",
    "--pipeline-parallel-size": "pipelineParallel",
    "--data-parallel-size": "dataParallel",
    "--enable-expert-parallel": "expertParallel",
    "--max-model-len": "contextTokens",
    "--max-num-seqs": "maxNumSeqs",
    "--max-num-batched-tokens": "maxNumBatchedTokens",
    "--gpu-memory-utilization": "gpuMemoryUtilization",
    "--kv-cache-dtype": "kvCacheDtype",
    "--shutdown-timeout": "drainTimeoutS",
    "--revision": "revision",
    "--api-key": "nothing: the key comes from a Secret",
    "--nnodes": "pipelineParallel",
    "--node-rank": "pipelineParallel",
    "--master-addr": "pipelineParallel",
    "--headless": "pipelineParallel",
}
SECRET_NAME = re.compile(r"(TOKEN|PASSWORD|SECRET|(API|ACCESS|PRIVATE)_?KEY)", re.IGNORECASE)


def server_args(
    model: Model,
    *,
    directory: str,
    served_name: str,
    parallelism: Parallelism,
    context_tokens: int,
    max_num_seqs: int,
    max_num_batched_tokens: int | None,
    utilization: float | None,
    kv_cache_dtype: str,
    drain_s: int,
    extra: Sequence[str],
) -> tuple[str, ...]:
    """Arguments after `vllm serve`. `utilization` None: a CPU server, which has no such limit."""
    args = [
        directory,
        f"--served-model-name={served_name}",
        "--host=0.0.0.0",
        f"--port={PORT}",
        f"--max-model-len={context_tokens}",
        f"--max-num-seqs={max_num_seqs}",
        "--load-format=safetensors",
        f"--shutdown-timeout={drain_s}",
    ]
    if utilization is None:
        args.append("--dtype=bfloat16")
    else:
        args.append(f"--gpu-memory-utilization={utilization:g}")
        args.append(f"--tensor-parallel-size={parallelism.tensor}")
    if parallelism.pipeline > 1:
        args.append(f"--pipeline-parallel-size={parallelism.pipeline}")
    if parallelism.data > 1:
        args.append(f"--data-parallel-size={parallelism.data}")
    if parallelism.expert:
        args.append("--enable-expert-parallel")
    if max_num_batched_tokens is not None:
        args.append(f"--max-num-batched-tokens={max_num_batched_tokens}")
    if kv_cache_dtype != "auto":
        args.append(f"--kv-cache-dtype={kv_cache_dtype}")
    # caching prefixes of a hybrid model costs a second and third state per sequence; the memory model counts one
    args.append("--no-enable-prefix-caching" if model.kv_profile is KvProfile.HYBRID else "--enable-prefix-caching")
    return (*args, *_serving_args(model, extra), *extra)


def _serving_args(model: Model, extra: Sequence[str]) -> list[str]:
    """Parsers of the model's dialect, unless the user chose others."""
    serving, chosen = model.serving, {argument.partition("=")[0] for argument in extra}
    args = []
    if serving.reasoning_parser and "--reasoning-parser" not in chosen:
        args.append(f"--reasoning-parser={serving.reasoning_parser}")
    if serving.tool_call_parser and "--tool-call-parser" not in chosen:
        args += ["--enable-auto-tool-choice", f"--tool-call-parser={serving.tool_call_parser}"]
    if serving.tokenizer_mode and "--tokenizer-mode" not in chosen:
        args.append(f"--tokenizer-mode={serving.tokenizer_mode}")
    if serving.language_model_only:
        args.append("--language-model-only")
    return args


def server_env(*, startup_budget_s: int, cache_root: str, cpu_kv_cache_gib: int | None) -> dict[str, str]:
    """Environment of a vLLM container: no internet, caches on the writable volume, its own start-up limit raised."""
    env = {
        "HF_HUB_OFFLINE": "1",
        "HOME": cache_root,
        # torch asks for the user's name, which a numeric user does not have in the CPU image
        "LOGNAME": "vllm",
        "TORCHINDUCTOR_CACHE_DIR": f"{cache_root}/torchinductor",
        "TRITON_CACHE_DIR": f"{cache_root}/triton",
        "VLLM_CACHE_ROOT": f"{cache_root}/vllm",
        "VLLM_ENGINE_READY_TIMEOUT_S": str(startup_budget_s),
        # one request may not ask for thousands of answers (CVE-2026-34756 and its kin)
        "VLLM_MAX_N_SEQUENCES": "64",
        "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "XDG_CACHE_HOME": f"{cache_root}/xdg",
    }
    if cpu_kv_cache_gib is not None:
        env["VLLM_CPU_KVCACHE_SPACE"] = str(cpu_kv_cache_gib)
    return env


def check_args(args: Sequence[str], engine: Engine, path: str) -> list[Problem]:
    """Checks arguments a user adds against the options of the pinned vLLM version."""
    spellings = _spellings(engine)
    problems = []
    for position, argument in enumerate(args):
        where = f"{path}[{position}]"
        if not argument.startswith("-"):
            if position == 0 or not args[position - 1].startswith("-") or "=" in args[position - 1]:
                problems.append(Problem(where, f'"{argument}" is not an option; options start with --'))
            continue
        name, has_value, value = argument.partition("=")
        option = spellings.get(name)
        if name in engine.removed_options:
            problems.append(Problem(where, f"{name} was removed from vLLM {engine.version}: "
                                           f"{engine.removed_options[name]}"))  # fmt: skip
        elif option is None:
            problems.append(Problem(where, f"vLLM {engine.version} has no option {name}{nearest(name, spellings)}"))
        elif option in MANAGED:
            problems.append(Problem(where, f"{name} is decided by {MANAGED[option]}"))
        else:
            given = value if has_value else args[position + 1] if position + 1 < len(args) else ""
            problems += _value_problems(
                engine.options[option], name, given if has_value or given[:2] != "--" else "", where
            )
    return problems


def _spellings(engine: Engine) -> dict[str, str]:
    """Every spelling of every option → its long name."""
    spellings = {}
    for name, option in engine.options.items():
        aliases = option.get("aliases")
        negative = option.get("negative")
        spellings[name] = name
        spellings |= {str(alias): name for alias in aliases} if isinstance(aliases, list) else {}
        spellings |= {str(negative): name} if negative else {}
    return spellings


def _value_problems(option: Mapping[str, object], name: str, value: str, where: str) -> list[Problem]:
    if option.get("kind") != "value":
        return []
    if not value:
        return [Problem(where, f"{name} needs a value; write {name}=VALUE")]
    choices = option.get("choices")
    if isinstance(choices, list) and choices and value not in [str(choice) for choice in choices]:
        return [Problem(where, f"{name} {value}: not one of {', '.join(str(choice) for choice in choices)}")]
    if option.get("type") == "int" and not re.fullmatch(r"-?\d+", value):
        return [Problem(where, f"{name} {value}: must be a whole number")]
    if option.get("type") == "float" and not re.fullmatch(r"-?\d*\.?\d+(e-?\d+)?", value, re.IGNORECASE):
        return [Problem(where, f"{name} {value}: must be a number")]
    return []


def check_env(env: Mapping[str, str], managed: Mapping[str, str], path: str) -> list[Problem]:
    """Environment variables a user adds: never a secret, never one the plan decides."""
    problems = []
    for name in env:
        if name in managed:
            problems.append(Problem(f"{path}.{name}", "is decided by the plan"))
        elif SECRET_NAME.search(name):
            problems.append(
                Problem(f"{path}.{name}", "looks like a secret; secrets never go into the environment here")
            )
        elif name == "VLLM_SERVER_DEV_MODE":
            problems.append(Problem(f"{path}.{name}", "opens administrative endpoints; it is never set in production"))
    return problems
