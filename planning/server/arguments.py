"""Command line of a vLLM server, and the check of what a user adds to it."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from math import inf

from catalog.engine import Case, Effect, Engine
from catalog.schema import KvProfile, Model
from planning.capacity import flags
from planning.capacity.budget import Parallelism
from planning.capacity.flags import SIZE, WHOLE, WITH_SIZES, expanded, has, json_value
from planning.capacity.options import Setting, effects, is_option, option_name, read_options, read_parts
from planning.plan.weights import Source
from planning.server.json_values import json_problems
from planning.stack.variables import secrets_named
from planning.tasks import task_of
from settings.broken import NOT_KNOWN
from settings.problems import Problem, nearest

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
    args, parsers = [], task_of(model).chats
    if parsers and serving.reasoning_parser and flags.REASONING_PARSER not in chosen:
        args.append(f"{flags.REASONING_PARSER}={serving.reasoning_parser}")
    if parsers and serving.tool_call_parser and flags.TOOL_CALL_PARSER not in chosen:
        args += [flags.ENABLE_AUTO_TOOL_CHOICE, f"{flags.TOOL_CALL_PARSER}={serving.tool_call_parser}"]
    if serving.tokenizer_mode and flags.TOKENIZER_MODE not in chosen:
        args.append(f"{flags.TOKENIZER_MODE}={serving.tokenizer_mode}")
    if serving.language_model_only:
        args.append(flags.LANGUAGE_MODEL_ONLY)
    if serving.pair_template and flags.CHAT_TEMPLATE not in chosen:
        args.append(f"{flags.CHAT_TEMPLATE}={serving.pair_template}")
    return args


def override_args(model: Model, options: Mapping[str, Setting]) -> list[str]:
    """The config that makes the model what it is for, with what the user adds: only the last such option counts."""
    if not model.serving.overrides:
        return []
    setting = options.get(flags.HF_OVERRIDES)
    try:
        own = json_value(setting.value) if setting else {}
    except ValueError:
        own = {}
    return [f"{flags.HF_OVERRIDES}={json.dumps({**model.serving.overrides, **(own if isinstance(own, dict) else {})})}"]


def group_args(nodes: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(arguments of the leader, of a worker) of a replica over so many nodes, by the variables LWS gives each pod."""
    group = (
        f"{flags.NNODES}={nodes}",
        f"{flags.NODE_RANK}=$(LWS_WORKER_INDEX)",
        f"{flags.MASTER_ADDR}=$(LWS_LEADER_ADDRESS)",
    )
    return group, (*group, flags.HEADLESS)


def check_args(args: Sequence[str], engine: Engine, path: str, others: Iterable[Engine] = ()) -> list[Problem]:
    """Checks arguments a user adds against the options of the version that runs; `others`: all that are known."""
    plugins = any("-parser-plugin" in argument for argument in args)
    settled = tuple(effects(read_options(args, engine), engine)) if args else ()
    refused = {setting.position: text for setting, case in settled if (text := _refusal(setting, case))}
    # options that are written in parts, each spelling whole at its last part
    problems = [
        Problem(f"{path}[{setting.position}]", text)
        for setting in read_parts(args, engine)
        for text in json_problems(engine, setting.name, setting.written, setting.value)
    ]
    takes = 0.0  # values that may still follow the last option
    for position, argument in enumerate(args):
        where = f"{path}[{position}]"
        if argument == NOT_KNOWN:
            takes = inf
            continue
        problems += [Problem(where, text) for text in secrets_named(argument)]
        if not is_option(argument):
            if takes < 1:
                problems.append(Problem(where, f'"{argument}" is not an option and belongs to none'))
            takes -= 1
            continue
        name, has_value, value = argument.partition("=")
        takes = 0 if has_value else inf
        option = option_name(name, engine)
        if name in engine.removed_options:
            removed = f"{name} was removed from vLLM {engine.version}: {engine.removed_options[name]}"
            problems.append(Problem(where, removed))
        elif option is None:
            problems.append(Problem(where, _unknown_option(name, engine, others)))
        elif position in refused:
            problems.append(Problem(where, refused[position]))
        else:
            known = engine.options[option]
            takes = 0 if has_value or known.kind == "flag" else inf if known.nargs == "+" else 1
            follows = args[position + 1] if position + 1 < len(args) and not is_option(args[position + 1]) else ""
            argument_value = value if has_value else follows
            if known.kind == "flag" and has_value:
                problems.append(Problem(where, f"{name} takes no value"))
            elif argument_value != NOT_KNOWN and "." not in name and not (plugins and option.endswith("-parser")):
                problems += [Problem(where, text) for text in _value_problems(engine, option, name, argument_value)]
    return problems


def _unknown_option(name: str, engine: Engine, others: Iterable[Engine]) -> str:
    """The refusal of an option that this version does not have; another may."""
    text = f"vLLM {engine.version} has no option {name}"
    having = [other.version for other in others if option_name(name, other)]
    return f"{text}, {' and '.join(having)} has" if having else text + nearest(name, engine.spellings)


def _refusal(setting: Setting, case: Case) -> str:
    """The refusal of an option that no stack may have, whatever else it says."""
    if case.effect is Effect.PLANNED:
        return f"{setting.written} is decided by {case.why}"
    return f"{setting.written} must be left out: {case.why}" if case.effect is Effect.NEVER else ""


def _value_problems(engine: Engine, option: str, name: str, value: str) -> list[str]:
    """Problems of the value of an option, as the parser or, for registered names, the starting engine reports them."""
    known = engine.options[option]
    if known.kind != "value" or re.fullmatch(r"-O\d", name):
        return []
    if not value:
        return [f"{name} needs a value; write {name}=VALUE"]
    choices = [str(choice) for choice in known.choices]
    if choices and value not in choices:
        return [f"{name} {value}: not one of {', '.join(choices)}"]
    registered = getattr(engine, REGISTRIES[option]) if option in REGISTRIES else [value]
    if value not in registered and (option, value) != (flags.REASONING_PARSER, "none"):
        return [f"{name} {value}: vLLM {engine.version} has none of that name{nearest(value, registered)}"]
    well_formed, form = FORMS.get(known.type, (_anything, ""))
    return [*json_problems(engine, option, name, value)] if well_formed(value) else [f"{name} {value}: must be {form}"]


def _anything(_: str) -> bool:
    return True


def _json(text: str) -> bool:
    try:
        json_value(text)
    except ValueError:
        return False
    return True


def _json_with_sizes(text: str) -> bool:
    try:
        return _json(expanded(text))
    except ValueError:
        return False


FORMS = {
    "int": (re.compile(f"-?{WHOLE}").fullmatch, "a whole number"),
    "float": (re.compile(r"-?[0-9]{0,18}\.?[0-9]{1,18}(e-?[0-9]{1,3})?", re.IGNORECASE).fullmatch, "a number"),
    "size": (re.compile(SIZE).fullmatch, "a whole number, such as 4000, 4k (4,000) or 4K (4,096)"),
    "json": (_json, "JSON"),
    WITH_SIZES: (_json_with_sizes, "JSON"),
    # as vLLM tells them apart (union_dict_and_str, vllm/engine/arg_utils.py, 0.33.0)
    "json-or-str": (lambda text: _json(text) or not re.fullmatch(r"(?s)\s*{.*}\s*", text), "JSON, or no braces"),
}
