"""Command line of a vLLM server, and the check of what a user adds to it."""

import re
from collections.abc import Mapping, Sequence
from math import inf

from catalog.engine import Engine
from catalog.schema import KvProfile, Model
from planning.capacity import flags
from planning.capacity.budget import Parallelism
from planning.capacity.flags import WHOLE, has, json_value
from planning.plan.weights import Source
from planning.stack.variables import secrets_named
from planning.tasks import task_of
from settings.problems import Problem, nearest

# Options the plan decides, and the setting that decides each; a user who writes one of them in `args` is sent there.
MANAGED = {
    flags.MODEL: "model",
    flags.SERVED_MODEL_NAME: "the name of the model",
    flags.TENSOR_PARALLEL_SIZE: "tensorParallel",
    flags.PIPELINE_PARALLEL_SIZE: "pipelineParallel",
    flags.DATA_PARALLEL_SIZE: "dataParallel",
    flags.ENABLE_EXPERT_PARALLEL: "expertParallel",
    flags.MAX_MODEL_LEN: "contextTokens",
    flags.MAX_NUM_SEQS: "maxNumSeqs",
    flags.MAX_NUM_BATCHED_TOKENS: "maxNumBatchedTokens",
    flags.GPU_MEMORY_UTILIZATION: "gpuMemoryUtilization",
    flags.KV_CACHE_DTYPE: "kvCacheDtype",
    flags.SHUTDOWN_TIMEOUT: "drainTimeoutS",
    flags.REVISION: "revision",
    flags.NNODES: "pipelineParallel",
    flags.NODE_RANK: "pipelineParallel",
    flags.MASTER_ADDR: "pipelineParallel",
    flags.HEADLESS: "pipelineParallel",
}
# Options nothing decides, because probes, gateway, monitor and network rules rely on what they would change.
FIXED = {
    flags.HOST: "the server listens on all addresses",
    flags.PORT: "the port is fixed",
    flags.UDS: "the server is reached by its port",
    flags.SSL_KEYFILE: "probes and the gateway speak plain HTTP inside the cluster",
    flags.SSL_CERTFILE: "probes and the gateway speak plain HTTP inside the cluster",
    flags.ROOT_PATH: "probes and the gateway know the paths",
    flags.API_KEY: "the key comes from a Secret",
    flags.HF_TOKEN: "the server has no internet; the download reads its token from a Secret",
}
# Options whose values the parser takes as they come and the engine refuses later, and the list it looks them up in.
REGISTRIES = {
    flags.LOAD_FORMAT: "load_formats",
    flags.REASONING_PARSER: "reasoning_parsers",
    flags.TOKENIZER_MODE: "tokenizer_modes",
    flags.TOOL_CALL_PARSER: "tool_call_parsers",
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
    stream_interval: int | None,
    routed: bool,
    extra: Sequence[str],
) -> tuple[str, ...]:
    """Arguments after `vllm serve`.

    `for_task`: what the engine's file has for the model's; `utilization` None: a CPU server, which has no such limit;
    `stream_interval` None: as the engine or `extra` has it; `routed`: a router asks it for the tokens of prompts.
    """
    args = [
        source.argument,
        f"{flags.SERVED_MODEL_NAME}={served_name}",
        f"{flags.HOST}=0.0.0.0",
        f"{flags.PORT}={port}",
        f"{flags.MAX_MODEL_LEN}={context_tokens}",
        f"{flags.MAX_NUM_SEQS}={max_num_seqs}",
        f"{flags.LOAD_FORMAT}={source.load_format}",
        *source.options,
        f"{flags.SHUTDOWN_TIMEOUT}={drain_s}",
    ]
    if utilization is None:
        # what users say of it is said once
        args += [] if has(extra, flags.DTYPE) else [f"{flags.DTYPE}=bfloat16"]
    else:
        args.append(f"{flags.GPU_MEMORY_UTILIZATION}={utilization:g}")
        args.append(f"{flags.TENSOR_PARALLEL_SIZE}={parallelism.tensor}")
    if parallelism.pipeline > 1:
        args.append(f"{flags.PIPELINE_PARALLEL_SIZE}={parallelism.pipeline}")
    if parallelism.data > 1:
        args.append(f"{flags.DATA_PARALLEL_SIZE}={parallelism.data}")
    if parallelism.expert:
        args.append(flags.ENABLE_EXPERT_PARALLEL)
    if max_num_batched_tokens is not None:
        args.append(f"{flags.MAX_NUM_BATCHED_TOKENS}={max_num_batched_tokens}")
    if kv_cache_dtype != "auto":
        args.append(f"{flags.KV_CACHE_DTYPE}={kv_cache_dtype}")
    if stream_interval is not None:
        args.append(f"{flags.STREAM_INTERVAL}={stream_interval}")
    if task_of(model).prefix_caching:
        # caching prefixes of a hybrid model costs a second and third state per sequence; the memory model counts one
        hybrid = model.kv_profile is KvProfile.HYBRID
        args.append(flags.NO_ENABLE_PREFIX_CACHING if hybrid else flags.ENABLE_PREFIX_CACHING)
    if routed:
        args.append(flags.ENABLE_SCALE_OUT)
    return (*args, *for_task, *_serving_args(model, extra), *extra)


def _serving_args(model: Model, extra: Sequence[str]) -> list[str]:
    """Parsers of the model's dialect, unless the user chose others."""
    serving, chosen = model.serving, {argument.partition("=")[0] for argument in extra}
    args, parsers = [], task_of(model).parsers
    if parsers and serving.reasoning_parser and flags.REASONING_PARSER not in chosen:
        args.append(f"{flags.REASONING_PARSER}={serving.reasoning_parser}")
    if parsers and serving.tool_call_parser and flags.TOOL_CALL_PARSER not in chosen:
        args += [flags.ENABLE_AUTO_TOOL_CHOICE, f"{flags.TOOL_CALL_PARSER}={serving.tool_call_parser}"]
    if serving.tokenizer_mode and flags.TOKENIZER_MODE not in chosen:
        args.append(f"{flags.TOKENIZER_MODE}={serving.tokenizer_mode}")
    if serving.language_model_only:
        args.append(flags.LANGUAGE_MODEL_ONLY)
    return args


def group_args(nodes: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(arguments of the leader, of a worker) of a replica over so many nodes, by the variables LWS gives each pod."""
    group = (
        f"{flags.NNODES}={nodes}",
        f"{flags.NODE_RANK}=$(LWS_WORKER_INDEX)",
        f"{flags.MASTER_ADDR}=$(LWS_LEADER_ADDRESS)",
    )
    return group, (*group, flags.HEADLESS)


def check_args(args: Sequence[str], engine: Engine, path: str) -> list[Problem]:
    """Checks arguments a user adds against the options of the pinned vLLM version."""
    spellings = _spellings(engine) if args else {}
    plugins = any("-parser-plugin" in argument for argument in args)
    problems = []
    takes = 0.0  # values that may still follow the last option
    for position, argument in enumerate(args):
        where = f"{path}[{position}]"
        problems += [Problem(where, text) for text in secrets_named(argument)]
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
    if value not in registered and (option, value) != (flags.REASONING_PARSER, "none"):
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
