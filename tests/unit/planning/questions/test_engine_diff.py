"""Differences of two versions of an engine, and the models of a stack that each is about.

Does not prove that the facts of the versions are true; tests/vllm/test_engine_file.py asks the real program.
"""

import pytest

from catalog.engine import Effect, Engine, Option
from planning.questions.engine_concerns import ABOUT, concerning
from planning.questions.engine_diff import PARTS, as_list, differences
from tests.unit.small_stack import A10, CATALOG, CPU, MODEL, planned, stack

OLD, NEW = (CATALOG.versions["vllm"][version] for version in ("0.32.0", "0.33.0"))
# Fields that say which version it is, and nothing of it.
HEAD = {"engine", "version", "source", "like"}


def with_other(**fields: object) -> Engine:
    """The new version with other fields."""
    return Engine.model_validate({**{name: getattr(NEW, name) for name in NEW.model_fields_set}, **fields})


def options(**changed: Option | None) -> Engine:
    """The new version with other options, by name without dashes; None: it has none of that name."""
    named = {f"--{name.replace('_', '-')}": option for name, option in changed.items()}
    known = {name: option for name, option in {**NEW.options, **named}.items() if option is not None}
    return with_other(options=known)


def texts(before: Engine, after: Engine) -> list[tuple[str, str, str]]:
    """Section, name and text of every difference."""
    return [(PARTS[change.field].noun, change.name, change.text) for change in differences(before, after)]


def about(before: Engine, after: Engine, raw: dict) -> dict[str, tuple[str, ...]]:
    """Name → what it is about, of the differences that are about something in this stack."""
    changes = concerning(differences(before, after), before, after, planned(raw), CATALOG)
    return {change.name: change.concerns for change in changes if change.concerns}


def with_args(*args: str) -> dict:
    """A stack whose one model has these arguments."""
    return stack(models={"m": {**MODEL, "args": list(args)}})


def test_every_part_of_a_file_is_compared():
    """No field of any version's file is left out."""
    parts = {field for engine in (OLD, NEW) for field in engine.model_dump(exclude_unset=True)}
    assert parts - HEAD == PARTS.keys() == ABOUT.keys()


def test_a_bump_is_shown_whole():
    """From 0.32.0 to 0.33.0, without the options that are only spelt otherwise, which come last."""
    changes = texts(OLD, NEW)
    dtypes = "auto, bfloat16, float16, fp8, fp8_ds_mla, fp8_e4m3, fp8_e5m2, fp8_inc, fp8_per_token_head, int4_per_token_head, int8_per_token_head, nvfp4, nvfp4_4over6, nvfp4_ds_mla, turboquant_3bit_nc, turboquant_4bit_nc, turboquant_k3v4_nc, turboquant_k8v4, ultraquant_4bit"  # noqa: E501
    backends = "FLASH_ATTN_MLA_SPARSE_FA4, ROCM_FLASHMLA_SPARSE_DSV41, ROCM_OCTAVE, STEP5_DSA"
    dtypes_of_index = "indexer_kv_dtype + Literal[…] | str − Literal[…]"
    ragged = "trtllm_ragged_backend + Literal[…], cute-dsl, trtllm-gen"
    keys = f"{ragged}; indexer_tp_shard_min_rows – → int >= 1; minimax_m3_indexer_cp – → bool"
    assert changes[:31] == [
        ("option", "--gdn-prefill-backend", "choices + sycl"),
        ("option", "--tool-strict-level", "default auto → –"),
        ("option", "--kv-cache-dtype", f"choices {dtypes} → any value"),
        ("option", "--mamba-cache-mode", "default none → –"),
        ("option", "--moe-backend", "choices + aiter_triton_mxfp4_mxfp4"),
        ("option", "--spec-method", "choices + step5_mtp − medusa, mlp_speculator"),
        ("option", "--reasoning-effort-map", "new, nothing"),
        ("option", "--sleep-mode-backend", "new, nothing"),
        ("option", "--monokernel", "new, never: no GPU of the catalogue runs it, and vLLM refuses to start then"),
        ("option", "--watchdog-config", "new, nothing"),
        (
            "JSON of an option",
            "--quantization-config",
            "; ".join(
                f"{part}.{key} + int8_per_group_32"
                for part in ("linear", "moe")
                for key in ("weight", "activation", "otherwise")
            ),
        ),
        (
            "JSON of an option",
            "--attention-config",
            f"backend + {backends}; backend_per_kind + {backends}; {dtypes_of_index}; {keys}",
        ),
        (
            "JSON of an option",
            "--kernel-config",
            "moe_backend + aiter_triton_mxfp4_mxfp4; monokernel – → bool",
        ),
        ("JSON of an option", "--reasoning-effort-map", "new, dict[str, str] | None"),
        ("JSON of an option", "--watchdog-config", "new"),
        ("removed option", "--disable-log-requests", "refused no more"),
        ("metric", "vllm:cache_config_info", "labels + simple_cpu_offload_num_blocks"),
        ("metric", "vllm:kv_offload_config_info", "new"),
        ("reasoning parser", "beam", "new"),
        ("reasoning parser", "muse", "new"),
        ("reasoning parser", "musespark1x", "new"),
        ("reasoning parser", "step5", "new"),
        ("tool call parser", "beam", "new"),
        ("tool call parser", "muse", "new"),
        ("tool call parser", "musespark1x", "new"),
        ("tool call parser", "step5", "new"),
        ("KV cache dtype", "octave_k3v4", "new"),
        ("KV cache dtype", "octave_k3v3", "new"),
        ("KV cache dtype", "octave_k3v3_compact", "new"),
        ("tokenizer mode", "alpamayo2_super", "new"),
        ("default", "batch", "1.except.compute_capability + 12.1"),
    ]
    assert {(section, text.partition(" ")[0]) for section, _, text in changes[31:]} == {("option", "negative")}


def test_the_other_way_round_new_is_gone():
    """Each difference is there in both orders, with the other sign."""
    forth, back = differences(OLD, NEW), differences(NEW, OLD)
    assert {(c.field, c.name, str(c.before), str(c.after)) for c in forth} == {
        (c.field, c.name, str(c.after), str(c.before)) for c in back
    }
    shown = {c.name: c.text for c in back}
    assert [shown[name] for name in ("--watchdog-config", "--spec-method", "--disable-log-requests", "batch")] == [
        "gone",
        "choices + medusa, mlp_speculator − step5_mtp",
        "refused, drop it, requests are not logged unless --enable-log-requests asks for it",
        "1.except.compute_capability − 12.1",
    ]


@pytest.mark.parametrize("engine", [OLD, NEW])
def test_a_version_does_not_differ_from_itself(engine: Engine):
    """Nothing is said."""
    assert differences(engine, engine) == []


FLAG = Option(kind="flag", effect=Effect.NOTHING)


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (None, FLAG, "new, nothing"),
        (FLAG, None, "gone"),
        (FLAG, FLAG.model_copy(update={"kind": "value", "type": "int"}), "kind flag → value; type – → int"),
        (FLAG, FLAG.model_copy(update={"effect": Effect.RISKY, "why": "x"}), "effect nothing → risky; why – → x"),
        (FLAG.model_copy(update={"default": True}), FLAG.model_copy(update={"default": False}), "default true → false"),
        (FLAG.model_copy(update={"aliases": ["-x"]}), FLAG.model_copy(update={"aliases": ["-y"]}), "aliases + -y − -x"),
        (
            FLAG,
            FLAG.model_copy(update={"unless": frozenset({"b", "a"}), "deprecated": "removal in 0.40"}),
            "deprecated – → removal in 0.40; unless + a, b",
        ),
    ],
)  # fmt: skip
def test_an_option_says_what_of_it_changed(before: Option | None, after: Option | None, text: str):
    """Each field by its kind: words that came and went, or a value and another."""
    assert texts(options(fresh=before), options(fresh=after)) == [("option", "--fresh", text)]


def test_a_metric_that_is_called_otherwise_says_how():
    """As far as the file of the other version has it; so does the role that asked for it."""
    renamed = {**NEW.metrics, "vllm:queued": NEW.metrics["vllm:num_requests_waiting"]}
    del renamed["vllm:num_requests_waiting"]
    other = with_other(
        metrics=renamed,
        roles={**NEW.roles, "waiting": "vllm:queued"},
        gone_metrics={"vllm:num_requests_waiting": "vllm:queued"},
    )
    assert [change for change in texts(NEW, other) if change[0] != "gone metric"] == [
        ("metric", "vllm:num_requests_waiting", "gone: vllm:queued"),
        ("metric", "vllm:queued", "new"),
        ("role of a metric", "waiting", "vllm:num_requests_waiting → vllm:queued"),
    ]
    assert about(NEW, other, stack(models={"m": {**MODEL, "replicas": {"min": 1, "max": 2}}})) == {
        "vllm:num_requests_waiting": ("alert LLMHighWaitQueue", "dashboard", "scaling of vllm-m"),
        "waiting": ("m",),
    }


def test_what_a_server_is_started_with_is_its_concern():
    """By any spelling, the user's argument or one that the plan writes; of all models or some."""
    gone = options(seed=None, max_num_seqs=None, enable_prefix_caching=None, max_logprobs=None)
    models = {"m": {**MODEL, "args": ["--seed=1"]}, "n": {**MODEL, "args": ["--max_logprobs=5"]}}
    assert about(NEW, gone, stack(models=models)) == {
        "--seed": ("m",),
        "--max-logprobs": ("n",),
        "--max-num-seqs": ("every model",),
        "--enable-prefix-caching": ("every model",),
    }


@pytest.mark.parametrize(("args", "models"), [((), ("m",)), (("--seed=7",), ())])
def test_another_default_is_about_those_that_do_not_say(args: tuple[str, ...], models: tuple[str, ...]):
    """Who writes the option has what was written."""
    other = options(seed=NEW.options["--seed"].model_copy(update={"default": 5}))
    expected = {"--seed": models} if models else {}
    assert about(NEW, other, with_args(*args)) == {**expected, **({"--seed": ("m",)} if args else {})}


def test_spellings_are_about_those_that_use_them():
    """A negative that is spelt otherwise is nothing to whoever writes the option itself."""
    assert "--enable-chunked-prefill" not in about(OLD, NEW, with_args("--enable-chunked-prefill"))
    assert about(NEW, OLD, with_args("--disable-chunked-mm-input"))["batch"] == ("m",)
    assert about(NEW, OLD, with_args("--enable-chunked-mm-input"))["--disable-chunked-mm-input"] == ("m",)


def test_json_of_an_option_concerns_servers_that_have_it():
    """Whatever they write into it."""
    other = with_other(contents={**NEW.contents, "--pooler-config": {"task": "str"}})
    raw = with_args('--pooler-config={"use_activation": true}')
    assert (about(NEW, other, raw), about(NEW, other, with_args("--seed=1"))) == (
        {"--pooler-config": ("m",)},
        {},
    )


@pytest.mark.parametrize(
    ("field", "word", "raw"),
    [
        ("tool_call_parsers", "hermes", stack()),
        ("kv_cache_dtypes", "fp8", stack(models={"m": {**MODEL, "kvCacheDtype": "fp8"}})),
        ("load_formats", "safetensors", stack()),
        ("tokenizer_modes", "hf", with_args("--tokenizer-mode=hf")),
    ],
)
def test_a_word_that_a_server_is_told_is_its_concern(field: str, word: str, raw: dict):
    """Those it is not told are not."""
    other = with_other(**{field: [known for known in getattr(NEW, field) if known not in {word, "hy_v4"}]})
    assert {name: models for name, models in about(NEW, other, raw).items() if name != "any_delta"} == {word: ("m",)}


def test_rules_are_about_the_models_and_cards_they_are_for():
    """Slices of the format of a checkpoint, devices of the vendor, variables and arguments that a server has."""
    slices = {name: rule.model_copy(update={"linear": 64}) for name, rule in NEW.slices.items()}
    devices = {name: rule.model_copy(update={"built_for": ("9.9",)}) for name, rule in NEW.devices.items()}
    variables = {**NEW.variables, "cache": "VLLM_HOME"}
    tasks = {**NEW.tasks, "embed": ["--runner=embedding"], "generate": ["--runner=generate"]}
    other = with_other(slices=slices, devices=devices, variables=variables, tasks=tasks)
    fp8 = {**MODEL, "model": "Qwen/Qwen3-8B-FP8", "pool": "l4"}
    raw = stack(models={"m": MODEL, "f": fp8}, gpuPools={"a10": A10, "l4": {**A10, "gpu": "nvidia-l4"}})
    both = ("every model",)
    assert about(NEW, other, raw) == {"fp8-block128": ("f",), "nvidia": both, "cache": both, "generate": both}


def test_defaults_of_cards_are_not_those_of_cpus():
    """A server on CPUs has the batch of its ranks."""
    cpu = stack(gpuPools={"a10": CPU}, models={"m": {**MODEL, "model": "Qwen/Qwen3-0.6B", "contextTokens": 2048}})
    defaults = {**NEW.defaults, "batch": [], "batch_cpu": {}, "gpu_memory_utilization": 0.5}
    other = with_other(defaults=defaults)
    assert about(NEW, other, cpu) == {"batch_cpu": ("m",), "gpu_memory_utilization": ("m",)}
    assert about(NEW, other, stack()) == {"batch": ("m",), "gpu_memory_utilization": ("m",)}


def test_rows_for_programs_have_both_values():
    """And the models where a stack was asked about; the table has a column for them then."""
    changes = differences(NEW, options(seed=None, fresh=FLAG))
    alone = as_list(changes, of_stack=False)
    assert [(row["name"], row["change"], row["before"] is None, row["after"]) for row in alone.rows] == [
        ("--seed", "gone", False, None),
        ("--fresh", "new", True, {"kind": "flag", "effect": "nothing"}),
    ]
    assert list(alone.columns.values()) == ["of", "name", "change"]
    assert list(as_list(changes, of_stack=True).columns.values()) == ["concerns", "of", "name", "change"]


def test_what_is_about_the_stack_comes_first():
    """The rest follows in its own order."""
    gone = options(headless=None, seed=None)
    changes = concerning(differences(NEW, gone), NEW, gone, planned(with_args("--seed=1")), CATALOG)
    assert [(change.name, change.concerns) for change in changes] == [("--seed", ("m",)), ("--headless", ())]
