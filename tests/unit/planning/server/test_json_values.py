"""JSON of options, key by key, as the classes of their version take it."""

import json

import pytest

from catalog import load_catalog
from catalog.content import Content, Notation, validator
from planning.server.arguments import check_args

CATALOG = load_catalog()
ENGINE = CATALOG.vllm
POOLER = (
    "dimensions, enable_chunked_processing, enable_flash_late_interaction, logit_mean, logit_sigma, max_embed_len, "
    "pooling_type, returned_token_ids, seq_pooling_type, step_tag_id, task, tok_pooling_type, use_activation"
)


def said(*args: str) -> list[str]:
    """What is wrong with further arguments of a model."""
    return [str(problem) for problem in check_args(args, ENGINE, "args")]


@pytest.mark.parametrize(
    "option",
    [
        '--pooler-config={"task": "embed", "dimensions": null, "use_activation": "true", "logit_mean": 1}',
        '--attention-config={"backend": "flash_attn", "flash_attn_version": 3}',
        '--compilation-config={"mode": 3, "cudagraph_mode": "full", "pass_config": {"fuse_norm_quant": true}}',
        '--compilation-config={"mode": "vllm_compile", "compile_sizes": [1, "cudagraph_capture_sizes"]}',
        '--quantization-config={"linear": {"weight": "mxfp8"}, "moe": null}',
        '--kernel-config={"linear_backend_per_quant": {"fp8": "cutlass"}}',
        '--structured-outputs-config={"disable_any_whitespace": true, "backend": "xgrammar"}',
        '--allowed-origins=["https://chat.corp"]',
        '--limit-mm-per-prompt={"image": 0, "video": {"count": 1}}',
        "--speculative-config=null",
        "--pooler-config.dimensions=256",
    ],
)
def test_what_the_classes_take_is_accepted(option: str):
    """Types are converted as pydantic does it, names of backends are of any case, keys may be written one by one."""
    assert said(option) == []


@pytest.mark.parametrize(
    ("args", "problems"),
    [
        (["--pooler-config=null"], [f'--pooler-config null: must be an object, {{"key": value}}; keys: {POOLER}']),
        (["--pooler-config", "[]"], [f'--pooler-config []: must be an object, {{"key": value}}; keys: {POOLER}']),
        (
            ['--pooler-config={"dimension": 3, "logit_mean": "x"}'],
            [
                '--pooler-config.logit_mean "x" must be a number',
                "--pooler-config.dimension is no key that vLLM knows; did you mean 'dimensions'?",
            ],
        ),
        (["--eplb-config.window_size", "0"], ["--eplb-config.window_size 0 must be greater than 0"]),
        (
            ["-cc.pass_config.fuse_norm_quants=true"],
            ["-cc.pass_config.fuse_norm_quants is no key that vLLM knows; did you mean 'fuse_norm_quant'?"],
        ),
        (['--limit-mm-per-prompt={"image": "x"}'], ['--limit-mm-per-prompt.image "x" must be a whole number']),
        (['--allowed-origins="*"'], ['--allowed-origins "*" must be a list']),
        (
            ['--quantization-config={"moe": {"weights": "mxfp8"}}'],
            ["--quantization-config.moe.weights is no key that vLLM knows; did you mean 'weight'?"],
        ),
        (
            ['--kernel-config={"linear_backend_per_quant": {}}'],
            ["--kernel-config.linear_backend_per_quant must have at least 1 entry"],
        ),
    ],
)
def test_what_ends_the_parser_is_refused(args: list[str], problems: list[str]):
    """What is no object, unknown keys, values of other types and outside of their limits, wherever they are."""
    assert said(*args) == [f"args[0]: {problem}" for problem in problems]


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        (
            '--structured-outputs-config={"disable_any_whitespace": true}',
            "vLLM takes disable_any_whitespace with backend xgrammar or guidance alone",
        ),
        ('--eplb-config={"communicator": "pynccl"}', "communicators torch_nccl and pynccl need use_async false"),
        ('--pooler-config={"logit_sigma": 0.0}', "logit_sigma 0 divides by zero"),
        ('--engram-config={"use_thp": true}', "dp_shared_memory and use_thp need cpu_offload"),
        ('--compilation-config={"custom_ops": ["all", "rms_norm"]}', "custom_ops are all, none, +NAME or -NAME"),
        ('--profiler-config={"profiler": "torch"}', "profiler torch needs torch_profiler_dir"),
    ],
)
def test_keys_that_exclude_each_other_are_refused(option: str, problem: str):
    """Each may be there alone."""
    assert said(option) == [f"args[0]: {option.partition('=')[0]} must be left out: {problem}"]


@pytest.mark.parametrize("version", CATALOG.versions["vllm"])
def test_every_content_of_every_version_can_be_read(version: str):
    """An empty object is right where an object is."""
    engine = CATALOG.versions["vllm"][version]
    objects = {name: content for name, content in engine.contents.items() if isinstance(content, dict)}
    answers = {
        name: validator(content).validate_python({}).model_dump(exclude_unset=True) for name, content in objects.items()
    }
    assert (answers, objects.keys() <= engine.options.keys()) == ({name: {} for name in objects}, True)


@pytest.mark.parametrize("content", ["dict[int, str]", "set[str]", "int or str", "list[", {"key": "Path"}])
def test_a_type_that_the_notation_does_not_have_is_an_error(content: Content):
    """So that a file of a version never says what nobody checks."""
    with pytest.raises(Notation):
        validator(json.loads(json.dumps(content)))
