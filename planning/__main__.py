"""`python -m planning --model ID --gpu ID --gpus N`: can I run this there? Exit 0 fits, 2 refused, 64 usage.

`--gpu all` asks it of every GPU of the catalogue. `python -m planning calibrate --log FILE` compares with a real start.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from math import nan
from pathlib import Path
from typing import TextIO

from catalog.load import Catalog
from planning.capacity.asked import Asked
from planning.capacity.budget import Parallelism
from planning.capacity.cards import DEFAULT_UTILIZATION
from planning.near import near_gpu, near_model
from planning.questions import answer_text, calibrate, comparison_text, startup_log, survey
from planning.questions.calculator import FitQuestion, answer
from planning.questions.chosen_catalog import chosen_catalog, own_catalog_option
from settings.commandline import FINE, REFUSED, Parser, UsageError, end_with_the_reader, run
from settings.problems import LONGEST_USAGE, nearest, sanitize

PROGRAM = "python -m planning"
# Beyond it a number is a slip of the keyboard, and arithmetic is no longer exact.
LARGEST = 10**15
# More GPUs than any replica spans: the ways to spread it are tried one by one.
MOST_GPUS = 4_096
EVERY_GPU = "all"


def _at_least_one(text: str) -> int:
    value = _number(text)
    if value < 1 or value != int(value):
        raise argparse.ArgumentTypeError(f"{text} must be a whole number, at least 1")
    return int(value)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = nan
    if not abs(value) <= LARGEST:
        raise argparse.ArgumentTypeError(f"{text} must be a number")
    return value


def _gpus(text: str) -> int:
    value = _at_least_one(text)
    if value > MOST_GPUS:
        raise argparse.ArgumentTypeError(f"{text} must be at most {MOST_GPUS}")
    return value


def _context(text: str) -> int:
    return 0 if text == "auto" else _at_least_one(text)


def _share(text: str) -> float:
    value = _number(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} must be above 0 and at most 1")
    return value


def _positive(text: str) -> float:
    value = _number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} must be above 0")
    return value


def _parser() -> Parser:
    parser = Parser(
        prog=PROGRAM,
        description="Can this model run on these GPUs?",
        epilog="`python -m planning calibrate --log FILE` compares with what vLLM logged. Exit codes: 0 fits, "
        "2 refused, 64 wrong usage.",
        allow_abbrev=False,
    )
    parser.add_argument("--model", required=True, help="Hugging Face repository id of a catalogue entry")
    parser.add_argument("--gpu", required=True, help="GPU id of the catalogue, e.g. nvidia-a10; all: a table of them")
    parser.add_argument("--gpus", type=_gpus, help="how many GPUs one replica may use; default: the fewest that do")
    parser.add_argument("--context", type=_context, help="tokens, or auto; default: all the checkpoint has")
    _engine_options(parser)
    _parallel_options(parser)
    parser.add_argument("--decode-context-parallel", type=_at_least_one, metavar="N", help="needs --tensor-parallel")
    parser.add_argument("--expert-parallel", action="store_true")
    parser.add_argument("--concurrency", type=_at_least_one, default=1, help="whole contexts held at once; default 1")
    parser.add_argument("--enforce-eager", action="store_true", help="no CUDA graphs")
    parser.add_argument("--language-model-only", action="store_true", help="without the vision tower")
    parser.add_argument("--gpu-memory-gib", type=_positive, metavar="F", help="GiB CUDA shows, instead of the table's")
    own_catalog_option(parser)
    parser.add_argument("--json", action="store_true", help="print JSON: one object, or with all a list")
    return parser


def _calibrate_parser() -> Parser:
    parser = Parser(
        prog=f"{PROGRAM} calibrate",
        description="What a vLLM start-up log says beside what is computed for the same start. Options are for what "
        "the log does not say.",
        epilog="Exit codes: 0 compared, 2 refused, 64 wrong usage.",
        allow_abbrev=False,
    )
    parser.add_argument("--log", type=Path, required=True, metavar="FILE", help="log of a vLLM 0.11 to 0.33 server")
    parser.add_argument("--model", help="Hugging Face repository id of a catalogue entry")
    parser.add_argument("--gpu", help="GPU id of the catalogue, e.g. nvidia-a10")
    parser.add_argument("--context", type=_at_least_one, help="tokens; default: what the log says was served")
    own_catalog_option(parser)
    # the log says these of its own start
    parser.set_defaults(concurrency=1, enforce_eager=False, language_model_only=False)
    _engine_options(parser)
    _parallel_options(parser)
    return parser


def _engine_options(parser: Parser) -> None:
    parser.add_argument("--max-num-seqs", type=_at_least_one, help="default: vLLM's own for this GPU")
    parser.add_argument("--max-num-batched-tokens", type=_at_least_one, help="default: vLLM's own for this GPU")
    parser.add_argument(
        "--gpu-memory-utilization", type=_share, metavar="F", help=f"default: vLLM's own, {DEFAULT_UTILIZATION:g}"
    )
    parser.add_argument("--kv-cache-dtype", help="e.g. fp8; default: auto")


def _parallel_options(parser: Parser) -> None:
    parser.add_argument("--tensor-parallel", type=_gpus, metavar="N")
    parser.add_argument("--pipeline-parallel", type=_gpus, metavar="N")
    parser.add_argument("--data-parallel", type=_gpus, metavar="N")


def main(argv: Sequence[str] | None = None) -> int:
    """Answers one question; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    return run(PROGRAM, lambda: _run(words))


def _run(words: Sequence[str]) -> int:
    # not a subparser: it would take the value of a misspelt option for a subcommand
    if words[:1] == ["calibrate"]:
        return _calibrate(_calibrate_parser(), words[1:])
    parser = _parser()
    options = parser.parse_args(words)
    catalog = chosen_catalog(options)
    every = options.gpu == EVERY_GPU
    _check_words(options, catalog, every=every)
    if every:
        return _survey(parser, options, catalog)
    parts = (options.tensor_parallel, options.pipeline_parallel, options.data_parallel)
    chosen, split = None, options.decode_context_parallel or 1
    if split > 1 and options.tensor_parallel is None:
        parser.error("--decode-context-parallel needs --tensor-parallel")
    if any(part is not None for part in parts):
        chosen = Parallelism(*(part or 1 for part in parts), expert=options.expert_parallel, decode_context=split)
    gpus = options.gpus or (chosen.gpus if chosen else _fewest_gpus(options, catalog))
    result = answer(
        FitQuestion(
            model=options.model,
            gpu=options.gpu,
            gpus=gpus,
            asked=_asked(options),
            parallelism=chosen,
            expert_parallel=options.expert_parallel,
            gpu_memory_gib=options.gpu_memory_gib,
        ),
        catalog,
    )
    print(
        json.dumps(answer_text.as_json(result), indent=2)
        if options.json
        else answer_text.as_text(result, options.model, gpus)
    )
    return FINE if result.fit.fits else REFUSED


def _fewest_gpus(options: argparse.Namespace, catalog: Catalog) -> int:
    """The fewest GPUs of a replica that serve it; where none do, as many as come nearest."""
    gpu = catalog.gpus[options.gpu]
    if options.gpu_memory_gib is not None:
        gpu = gpu.model_copy(update={"cuda_gib": options.gpu_memory_gib})
    sizes = range(1, survey.MOST_GPUS + 1)
    model, expert = catalog.models[options.model], options.expert_parallel
    return survey.survey_gpu(model, options.gpu, gpu, _asked(options), catalog, sizes, expert=expert).gpus


def _asked(options: argparse.Namespace) -> Asked:
    """Questions of the engine that the options ask."""
    return Asked(
        context_tokens=options.context,
        max_num_seqs=options.max_num_seqs,
        max_num_batched_tokens=options.max_num_batched_tokens,
        utilization=options.gpu_memory_utilization,
        kv_cache_dtype=options.kv_cache_dtype,
        concurrency=options.concurrency,
        eager=options.enforce_eager,
        language_model_only=options.language_model_only,
    )


def _check_words(options: argparse.Namespace, catalog: Catalog, *, every: bool) -> None:
    """Raises `UsageError` when a word is not one of the catalogue; a GPU's label becomes its id."""
    if options.gpu is not None and not every:
        options.gpu = catalog.gpu_id(options.gpu) or options.gpu
    asked = (
        ("model", options.model, catalog.models, near_model),
        ("GPU", None if every else options.gpu, catalog.gpus, near_gpu),
        ("KV cache dtype", options.kv_cache_dtype, catalog.vllm.kv_cache_dtypes, nearest),
    )
    unknown = [
        (kind, name, near(name, known)) for kind, name, known, near in asked if name is not None and name not in known
    ]
    if unknown:
        raise UsageError("\n".join(f"unknown {kind} '{name}'{hint}" for kind, name, hint in unknown))


def _survey(parser: Parser, options: argparse.Namespace, catalog: Catalog) -> int:
    """The table over every GPU, which chooses numbers and spreads itself."""
    for name in ("gpus", "tensor_parallel", "pipeline_parallel", "data_parallel", "gpu_memory_gib"):
        if getattr(options, name) is not None:
            parser.error(f"--gpu all and --{name.replace('_', '-')} exclude each other; name one GPU, or leave it out")
    expert = options.expert_parallel
    rows = survey.survey_gpus(catalog.models[options.model], _asked(options), catalog, expert=expert)
    print(json.dumps(survey.as_json(rows), indent=2) if options.json else survey.as_text(options.model, rows))
    return FINE if any(row.reason is None for row in rows) else REFUSED


def _calibrate(parser: Parser, words: Sequence[str]) -> int:
    """A log beside the plan for the same start."""
    options = parser.parse_args(words)
    catalog = chosen_catalog(options)
    _check_words(options, catalog, every=False)
    try:
        if options.log.exists() and not options.log.is_file():
            parser.error(f"--log {options.log}: is no file")
        # a log may have been cut or mixed with other output; what is not text is not a line we look for
        with options.log.open(encoding="utf-8", errors="replace") as opened:
            log = startup_log.read(_lines(opened))
    except (OSError, ValueError) as error:
        parser.error(f"--log {options.log}: {error.strerror if isinstance(error, OSError) else error}")
    if not log.telling:
        examples = "".join(f"\n  {line}" for line in startup_log.LOOKED_FOR)
        shown = sanitize(f"--log {options.log}: has none of the lines of a vLLM start-up log:", LONGEST_USAGE)
        print(f"{shown}{examples}", file=sys.stderr)
        return REFUSED
    options_given = calibrate.Given(
        model=options.model,
        gpu=options.gpu,
        tensor=options.tensor_parallel,
        pipeline=options.pipeline_parallel,
        data=options.data_parallel,
        asked=_asked(options),
    )
    print(comparison_text.as_text(calibrate.compare(log, options_given, catalog)))
    return FINE


def _lines(opened: TextIO) -> Iterator[str]:
    """The lines of a log, cut where one is longer than any that is looked for, as far as a log is read."""
    left = startup_log.MOST_LOG_CHARACTERS
    while left > 0 and (line := opened.readline(startup_log.LONGEST_LINE)):
        left -= len(line)
        yield line


if __name__ == "__main__":
    end_with_the_reader()
    sys.exit(main())
