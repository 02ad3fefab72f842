"""Command line and environment of a vLLM server, and the check of what a user adds to them."""

import re
from collections.abc import Mapping, Sequence
from math import inf

from catalog.engine import Engine
from catalog.schema import KvProfile, Model
from planning.capacity.budget import Parallelism
from planning.capacity.flags import WHOLE, has, json_value
from planning.plan.weights import Source
from planning.tasks import task_of
from settings.problems import Problem, nearest

# Options the plan decides, and the setting that decides each; a user who writes one of them in `args` is sent there.
MANAGED = {
    "--model": "model",
    "--served-model-name": "the name of the model",
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
    "--nnodes": "pipelineParallel",
    "--node-rank": "pipelineParallel",
    "--master-addr": "pipelineParallel",
    "--headless": "pipelineParallel",
}
# Options nothing decides, because probes, gateway, monitor and network rules rely on what they would change.
FIXED = {
    "--host": "the server listens on all addresses",
    "--port": "the port is fixed",
    "--uds": "the server is reached by its port",
    "--ssl-keyfile": "probes and the gateway speak plain HTTP inside the cluster",
    "--ssl-certfile": "probes and the gateway speak plain HTTP inside the cluster",
    "--root-path": "probes and the gateway know the paths",
    "--api-key": "the key comes from a Secret",
    "--hf-token": "the server has no internet; the download reads its token from a Secret",
}
# HF_TOKEN, but not TOKENIZERS_PARALLELISM.
SECRET_NAME = re.compile(
    r"(TOKEN(_|$)|PASSWORD|PASSWD|SECRET|CREDENTIAL|(API|ACCESS|PRIVATE|ACCOUNT)_?KEY|CONNECTION_STRING)", re.IGNORECASE
)
# What Kubernetes replaces in arguments and values: a variable of the container; $$ is a plain $ (Kubernetes API, args).
REFERENCE = re.compile(r"\$\$|\$\((?P<name>[^()\s]+)\)")
# What the API server takes for the name of a variable.
VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
# Variables that no server may have from its user.
FORBIDDEN_VARIABLES = {
    "VLLM_HOST_IP": "must be left out: every pod has an address of its own",
    "VLLM_SERVER_DEV_MODE": "opens administrative endpoints; it is never set in production",
}
# Options whose values the parser takes as they come and the engine refuses later, and the list it looks them up in.
REGISTRIES = {
    "--load-format": "load_formats",
    "--reasoning-parser": "reasoning_parsers",
    "--tokenizer-mode": "tokenizer_modes",
    "--tool-call-parser": "tool_call_parsers",
}


def server_args(
    model: Model,
    *,
    for_task: Sequence[str],
    source: Source,
    served_name: str,
    parallelism: Parallelism,
    context_tokens: int,
    max_num_seqs: int,
    max_num_batched_tokens: int | None,
    utilization: float | None,
    kv_cache_dtype: str,
    drain_s: int,
    port: int,
    extra: Sequence[str],
) -> tuple[str, ...]:
    """Arguments after `vllm serve`.

    `for_task`: what the engine's file has for the model's; `utilization` None: a CPU server, which has no such limit.
    """
    args = [
        source.argument,
        f"--served-model-name={served_name}",
        "--host=0.0.0.0",
        f"--port={port}",
        f"--max-model-len={context_tokens}",
        f"--max-num-seqs={max_num_seqs}",
        f"--load-format={source.load_format}",
        *source.options,
        f"--shutdown-timeout={drain_s}",
    ]
    if utilization is None:
        # what users say of it is said once
        args += [] if has(extra, "--dtype") else ["--dtype=bfloat16"]
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
    if task_of(model).prefix_caching:
        # caching prefixes of a hybrid model costs a second and third state per sequence; the memory model counts one
        hybrid = model.kv_profile is KvProfile.HYBRID
        args.append("--no-enable-prefix-caching" if hybrid else "--enable-prefix-caching")
    return (*args, *for_task, *_serving_args(model, extra), *extra)


def _serving_args(model: Model, extra: Sequence[str]) -> list[str]:
    """Parsers of the model's dialect, unless the user chose others."""
    serving, chosen = model.serving, {argument.partition("=")[0] for argument in extra}
    args, parsers = [], task_of(model).parsers
    if parsers and serving.reasoning_parser and "--reasoning-parser" not in chosen:
        args.append(f"--reasoning-parser={serving.reasoning_parser}")
    if parsers and serving.tool_call_parser and "--tool-call-parser" not in chosen:
        args += ["--enable-auto-tool-choice", f"--tool-call-parser={serving.tool_call_parser}"]
    if serving.tokenizer_mode and "--tokenizer-mode" not in chosen:
        args.append(f"--tokenizer-mode={serving.tokenizer_mode}")
    if serving.language_model_only:
        args.append("--language-model-only")
    return args


def group_args(nodes: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(arguments of the leader, of a worker) of a replica over so many nodes, by the variables LWS gives each pod."""
    group = (f"--nnodes={nodes}", "--node-rank=$(LWS_WORKER_INDEX)", "--master-addr=$(LWS_LEADER_ADDRESS)")
    return group, (*group, "--headless")


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
    spellings = _spellings(engine) if args else {}
    plugins = any("-parser-plugin" in argument for argument in args)
    problems = []
    takes = 0.0  # values that may still follow the last option
    for position, argument in enumerate(args):
        where = f"{path}[{position}]"
        problems += [Problem(where, text) for text in _secrets_named(argument)]
        if not _is_option(argument):
            if takes < 1:
                problems.append(Problem(where, f'"{argument}" is not an option and belongs to none'))
            takes -= 1
            continue
        name, has_value, value = argument.partition("=")
        takes = 0 if has_value else inf
        option = _option(name, spellings, engine)
        if name in engine.removed_options:
            removed = f"{name} was removed from vLLM {engine.version}: {engine.removed_options[name]}"
            problems.append(Problem(where, removed))
        elif option is None:
            problems.append(Problem(where, f"vLLM {engine.version} has no option {name}{nearest(name, spellings)}"))
        elif option in MANAGED:
            problems.append(Problem(where, f"{name} is decided by {MANAGED[option]}"))
        elif option in FIXED:
            problems.append(Problem(where, f"{name} must be left out: {FIXED[option]}"))
        else:
            known = engine.options[option]
            takes = 0 if has_value or known.get("kind") == "flag" else inf if known.get("nargs") == "+" else 1
            follows = args[position + 1] if position + 1 < len(args) and not _is_option(args[position + 1]) else ""
            argument_value = value if has_value else follows
            if known.get("kind") == "flag" and has_value:
                problems.append(Problem(where, f"{name} takes no value"))
            elif "." not in name and not (plugins and option.endswith("-parser")):
                problems += [Problem(where, text) for text in _value_problems(engine, option, name, argument_value)]
    return problems


def _secrets_named(text: str) -> list[str]:
    """Problems of a text in which Kubernetes would put the value of a secret, for everybody to read."""
    names = [match["name"] for match in REFERENCE.finditer(text) if match["name"]]
    return [
        f"$({name}) would be replaced by a secret; leave it out, or write $$({name}) for that very text"
        for name in names
        if SECRET_NAME.search(name)
    ]


def _is_option(argument: str) -> bool:
    """Whether this is an option and no value; -1 is a value."""
    return argument.startswith("-") and not re.fullmatch(r"-\d+(\.\d+)?", argument)


def _option(name: str, spellings: Mapping[str, str], engine: Engine) -> str | None:
    """The long name of an option as vLLM reads it: underscores are dashes, -O3 a level, --json.key a part of --json."""
    base, dot, _ = name.partition(".")
    option = spellings.get(base.replace("_", "-") if base.startswith("--") else base)
    if re.fullmatch(r"-O\d", base):
        option = None if dot else spellings.get("-O")
    if dot and option and not str(engine.options[option].get("type")).startswith("json"):
        return None
    return option


def _spellings(engine: Engine) -> dict[str, str]:
    """Every spelling of every option → its long name."""
    spellings = {}
    for name, option in engine.options.items():
        aliases, hidden, negative = (option.get(key) or [] for key in ("aliases", "hidden", "negative"))
        synonyms = [*(aliases if isinstance(aliases, list) else []), *(hidden if isinstance(hidden, list) else [])]
        spellings |= {str(spelling): name for spelling in (name, *synonyms, *([negative] if negative else []))}
    return spellings


def _value_problems(engine: Engine, option: str, name: str, value: str) -> list[str]:
    """Problems of the value of an option, as the parser or, for registered names, the starting engine reports them."""
    known = engine.options[option]
    if known.get("kind") != "value" or re.fullmatch(r"-O\d", name):
        return []
    if not value:
        return [f"{name} needs a value; write {name}=VALUE"]
    choices = known.get("choices")
    if isinstance(choices, list) and choices and value not in [str(choice) for choice in choices]:
        return [f"{name} {value}: not one of {', '.join(str(choice) for choice in choices)}"]
    registered = getattr(engine, REGISTRIES[option]) if option in REGISTRIES else [value]
    if value not in registered and (option, value) != ("--reasoning-parser", "none"):
        return [f"{name} {value}: vLLM {engine.version} has none of that name{nearest(value, registered)}"]
    well_formed, form = FORMS.get(str(known.get("type")), (_anything, ""))
    return [] if well_formed(value) else [f"{name} {value}: must be {form}"]


def _anything(_: str) -> bool:
    return True


def _json(text: str) -> bool:
    try:
        json_value(text)
    except ValueError:
        return False
    return True


FORMS = {
    "int": (re.compile(f"-?{WHOLE}").fullmatch, "a whole number"),
    "float": (re.compile(r"-?[0-9]{0,18}\.?[0-9]{1,18}(e-?[0-9]{1,3})?", re.IGNORECASE).fullmatch, "a number"),
    "size": (
        re.compile(r"[0-9]{1,18}(\.[0-9]{1,18})?[kmgt]?", re.IGNORECASE).fullmatch,
        "a number, with k, M, G or T at most",
    ),
    "json": (_json, "JSON"),
    # as vLLM tells them apart (union_dict_and_str, vllm/engine/arg_utils.py, 0.33.0)
    "json-or-str": (lambda text: _json(text) or not re.fullmatch(r"(?s)\s*{.*}\s*", text), "JSON, or no braces"),
}


def check_env(env: Mapping[str, str], managed: Mapping[str, str], path: str) -> list[Problem]:
    """Environment variables a user adds: never a secret, never one the plan decides."""
    problems = []
    for name, value in env.items():
        problems += [Problem(f"{path}.{name}", text) for text in _secrets_named(value)]
        if not VARIABLE_NAME.fullmatch(name):
            problems.append(Problem(f"{path}.{name}", f'"{name}" is not the name of an environment variable'))
        elif name in managed:
            problems.append(Problem(f"{path}.{name}", "is decided by the plan"))
        elif SECRET_NAME.search(name):
            problems.append(
                Problem(f"{path}.{name}", "looks like a secret; secrets never go into the environment here")
            )
        elif name in FORBIDDEN_VARIABLES:
            problems.append(Problem(f"{path}.{name}", FORBIDDEN_VARIABLES[name]))
    return problems
