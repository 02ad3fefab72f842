"""The catalogue: it loads, its parts agree with each other, and its numbers agree with published ones."""

import re
import shutil

import pytest
import yaml
from pydantic import BaseModel

from catalog import charts, engine, platforms, schema, stores
from catalog.load import ENGINES, CatalogError, inherit, load_catalog, read_catalog
from catalog.schema import Architecture, KvProfile, VendorName, WeightFormat
from planning.server.arguments import REGISTRIES
from planning.tasks import task_of
from tests.harness import ROOT

FOLDER = ROOT / "catalog"
CATALOG = load_catalog()
MODELS = CATALOG.models
GIB = 2**30


# --- loading ---------------------------------------------------------------------------------------------------------


def test_every_entry_of_the_files_is_loaded():
    """Every key of the YAML files is in the catalogue, and there is an engine file for each engine we name."""
    for name in ("models", "gpus", "images", "charts"):
        raw = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
        assert set(raw[name]) == set(getattr(CATALOG, name))
    raw = yaml.safe_load((FOLDER / "gpus.yaml").read_text())
    assert set(raw["instances"]) == set(CATALOG.instances)
    assert set(CATALOG.engines) == set(ENGINES)


def test_the_catalogue_is_read_once_and_cannot_be_changed():
    """The loader hands everybody the same object, whose mappings and entries refuse assignment."""
    assert load_catalog() is CATALOG
    with pytest.raises(TypeError):
        MODELS["mine"] = MODELS["Qwen/Qwen3-8B"]  # pyright: ignore[reportIndexIssue] - this is the point
    with pytest.raises(ValueError, match="frozen"):
        MODELS["Qwen/Qwen3-8B"].gated = True


def test_like_merges_mappings_and_replaces_the_rest():
    """A variant keeps what it does not name, deep inside mappings too, and null takes a value away."""
    entries = {
        "c": {"like": "b", "serving": {"tool": None}},
        "b": {"like": "a", "shape": {"moe": {"experts": 4}}, "family": "y"},
        "a": {"family": "x", "shape": {"layers": 2, "moe": {"experts": 8, "top": 2}}, "serving": {"tool": "t"}},
    }
    resolved = inherit("models.yaml", entries)
    shape = {"layers": 2, "moe": {"experts": 4, "top": 2}}
    assert resolved["b"] == {"family": "y", "shape": shape, "serving": {"tool": "t"}}
    assert resolved["c"] == {"family": "y", "shape": shape, "serving": {"tool": None}}
    assert resolved["a"] == entries["a"]


def test_like_never_passes_on_what_belongs_to_one_repository():
    """Commit, note and sources stay behind, and an own checkpoint does not keep the byte counts of the other."""
    base = {"revision": "r", "note": "n", "sources": ["s"], "checkpoint": {"format": "bf16", "loadedBytes": 1}}
    resolved = inherit("models.yaml", {"a": base, "b": {"like": "a", "checkpoint": {"format": "fp8"}}})
    assert resolved["b"] == {"checkpoint": {"format": "fp8"}}
    variant = MODELS["Qwen/Qwen3-14B-AWQ"]
    assert variant.architecture == MODELS["Qwen/Qwen3-14B"].architecture
    assert variant.checkpoint.loaded_bytes is None
    assert variant.revision != MODELS["Qwen/Qwen3-14B"].revision


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"a": {"like": "z"}}, "models.yaml: a: like: there is no entry 'z'"),
        ({"a": {"like": ["b"]}}, "models.yaml: a: like: there is no entry '['b']'"),
        ({"a": {"like": "b"}, "b": {"like": "a"}}, "models.yaml: a: like: goes in a circle: a → b → a"),
        ({"a": {"like": "b"}, "b": None}, "models.yaml: b: must be a mapping"),
        ([], "models.yaml: models: must be a mapping from repository id to entry"),
    ],
)
def test_like_that_leads_nowhere_is_named(entries, message):
    """An unknown base, a circle and an empty entry are errors with file and key."""
    with pytest.raises(CatalogError) as caught:
        inherit("models.yaml", entries)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "models.yaml",
            "kvProfile: mla",
            "kvProfile: nla",
            "catalog/models.yaml: deepseek-ai/DeepSeek-R1: kvProfile: ",
        ),
        (
            "models.yaml",
            "layers: 30, hiddenSize: 576",
            "hiddenSize: 576",
            "catalog/models.yaml: HuggingFaceTB/SmolLM2-135M-Instruct: architecture.layers: ",
        ),
        ("gpus.yaml", "memoryMib: 23034", "memory: 23034", "catalog/gpus.yaml: nvidia-l4: memoryMib: Field required"),
        ("gpus.yaml", "    gpu: nvidia-a10g\n", "", "catalog/gpus.yaml: g5.xlarge: gpu: Field required"),
        ("gpus.yaml", "  nvidia-l40s:", "  nvidia-l4:", "catalog/gpus.yaml: key 'nvidia-l4' is given twice"),
        ("known-bad.yaml", "knownBad:", "known:", "catalog/known-bad.yaml: must have knownBad, has known"),
        ("known-bad.yaml", "below: [0.22.0]", "below: []", "catalog/known-bad.yaml: knownBad: 0: Value error, needs "),
        ("known-bad.yaml", "below: [0.22.0]", "below: [0.x]", "catalog/known-bad.yaml: knownBad: 0.below.0: "),
        (
            "known-bad.yaml",
            "    use: 1.109.1\n",
            "",
            "known-bad.yaml: knownBad: 2: Value error, versions need",
        ),
        (
            "charts.yaml",
            "takenNamespaces:",
            "taken:",
            "must have charts and takenNamespaces, has charts, t",
        ),
        ("charts.yaml", "charts:\n", "charts: [\n", "catalog/charts.yaml: while parsing"),
        (
            "engines/vllm-0.33.0.yaml",
            "--seed: {kind: value, type: int, default: 0, effect: nothing}",
            "--seed: {kind: value, type: int, default: 0}",
            "engines/vllm-0.33.0.yaml: options: --seed.effect: Field required",
        ),
        (
            "engines/vllm-0.33.0.yaml",
            "default: 0, effect: nothing}",
            "default: 0, effect: risky}",
            "engines/vllm-0.33.0.yaml: options: --sse-keep-alive-interval: Value error, effect risky needs why",
        ),
        (
            "engines/vllm-0.32.0.yaml",
            'version: "0.32.0"\nlike',
            'version: "0.33.0"\nlike',
            "engines/vllm-0.33.0.yaml: version: a second file for vllm 0.33.0",
        ),
        ("engines/vllm-0.32.0.yaml", "engine: vllm\n", "", "vllm-0.32.0.yaml: engine: must say engine and version"),
        (
            "engines/vllm-0.32.0.yaml",
            'like: "0.33.0"',
            'like: "0.31.0"',
            "catalog/engines: vllm: like: there is no file of version 0.31.0",
        ),
        (
            "engines/vllm-0.33.0.yaml",
            "source: {package: vllm",
            'like: "0.32.0"\nsource: {package: vllm',
            "catalog/engines: vllm: like: goes in a circle: 0.32.0 → 0.33.0 → 0.32.0",
        ),
        (
            "images.yaml",
            "version: v0.33.0",
            "version: v0.34.0",
            "vllm: version: there is no file of 0.34.0, only of 0.",
        ),
        (
            "engines/dcgm-exporter-4.6.0.yaml",
            "engine: dcgm-exporter",
            "engine: a",
            "engines: no file for dcgm-exporter",
        ),
        (
            "engines/dcgm-exporter-4.6.0.yaml",
            "type: gauge, ",
            "",
            "yaml: metrics: DCGM_FI_DEV_SM_CLOCK.type: Field required",
        ),
    ],
)
def test_errors_name_file_and_key(tmp_path, file, old, new, message):
    """A damaged file is refused with its name, the key and what is wrong."""
    folder = shutil.copytree(FOLDER, tmp_path / "catalog")
    path = folder / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(CatalogError) as caught:
        read_catalog(folder)
    assert message in str(caught.value)


def test_missing_file_is_named(tmp_path):
    """A folder without a file says which one is missing."""
    folder = shutil.copytree(FOLDER, tmp_path / "catalog")
    (folder / "charts.yaml").unlink()
    with pytest.raises(CatalogError, match=r"catalog/charts\.yaml: cannot be read"):
        read_catalog(folder)


# --- models: counted against published numbers -----------------------------------------------------------------------


def count_parameters(shape: Architecture, *, writes: bool = True) -> int:
    """Count the weights of the language model from config.json, tensor by tensor as the checkpoints have them."""
    hidden, heads, kv, dim = shape.hidden_size, shape.attention_heads, shape.kv_heads, shape.head_dim
    if shape.mla:
        mla = shape.mla
        attention = hidden * mla.q_lora_rank + mla.q_lora_rank * heads * (mla.nope_head_dim + mla.rope_head_dim)
        attention += hidden * (mla.kv_lora_rank + mla.rope_head_dim)
        attention += mla.kv_lora_rank * heads * (mla.nope_head_dim + mla.value_head_dim)
        attention += heads * mla.value_head_dim * hidden + mla.q_lora_rank + mla.kv_lora_rank
        attention += mla.q_lora_rank * mla.indexer_heads * mla.indexer_head_dim
        attention += hidden * (mla.indexer_head_dim + mla.indexer_heads)
    else:
        query = hidden * heads * dim
        attention = query * (2 if shape.gated_attention else 1) + 2 * hidden * kv * dim + query
        attention += (heads + 2 * kv) * dim if shape.qkv_bias else 2 * dim
    linear = 0
    if shape.linear_attention:
        gdn = shape.linear_attention
        keys, values = gdn.key_heads * gdn.key_head_dim, gdn.value_heads * gdn.value_head_dim
        mixed = hidden * (2 * keys + 2 * values + 2 * gdn.value_heads) + values * hidden
        linear = mixed + (2 * keys + values) * gdn.conv_kernel + 2 * gdn.value_heads + gdn.value_head_dim
    linear_layers = shape.linear_attention.layers if shape.linear_attention else 0
    total = (shape.layers - linear_layers) * attention + linear_layers * linear + shape.layers * 2 * hidden
    dense_layers = shape.layers
    if shape.moe:
        moe = shape.moe
        dense_layers = moe.dense_layers
        experts = 3 * hidden * (moe.experts * moe.intermediate_size + moe.shared_intermediate_size)
        total += (shape.layers - dense_layers) * (experts + hidden * moe.experts)
    total += dense_layers * 3 * hidden * shape.intermediate_size
    return total + hidden + shape.vocab_size * hidden * (1 if shape.tied_embeddings or not writes else 2)


COUNTED = [
    name
    for name, model in MODELS.items()
    # those with groups of layers, or mixers, are counted in test_importing.py
    if (shape := model.architecture) and model.parameters and model.kv_profile is not KvProfile.NONE
    if not shape.attention and not shape.mamba
]


@pytest.mark.parametrize("name", COUNTED)
def test_parameters_agree_with_the_architecture(name):
    """Counting the weights of the shape gives the published number of parameters within one per cent."""
    model = MODELS[name]
    assert model.architecture is not None
    writes = task_of(model).writes
    assert count_parameters(model.architecture, writes=writes) == pytest.approx(model.parameters, rel=0.01)


@pytest.mark.parametrize(
    ("name", "positions", "kinds"),
    [
        ("BAAI/bge-m3", 8194, 1),
        ("BAAI/bge-reranker-v2-m3", 8194, 1),
        ("intfloat/multilingual-e5-large", 514, 1),
        ("BAAI/bge-large-en-v1.5", 512, 2),
        ("BAAI/bge-base-en-v1.5", 512, 2),
    ],
)
def test_parameters_of_encoders_agree_with_their_shape(name, positions, kinds):
    """Biases and norms everywhere, a feed-forward of two matrices, learned positions and kinds of tokens: exactly."""
    model = MODELS[name]
    shape = model.architecture
    assert shape is not None
    hidden, inner = shape.hidden_size, shape.intermediate_size
    layer = 4 * (hidden + 1) * hidden + 2 * hidden * inner + inner + hidden + 4 * hidden
    counted = shape.layers * layer + (shape.vocab_size + positions + kinds + 2) * hidden
    assert counted == model.parameters
    pooling = (hidden + 1) * hidden
    # the head of the reranker takes the place of the pooling layer, and writes one number
    on_disk = 4 * (counted + pooling + (hidden + 1 if model.task == "rerank" else 0))
    assert model.checkpoint.disk_bytes == pytest.approx(on_disk, abs=50_000)


@pytest.mark.parametrize(
    ("name", "kib"),
    [
        ("deepseek-ai/DeepSeek-R1-0528", 70272),
        ("deepseek-ai/DeepSeek-V3.2", 78324),
        ("Qwen/Qwen3-0.6B", 114688),
        ("Qwen/Qwen3-4B", 147456),
        ("Qwen/Qwen3-8B", 147456),
        ("Qwen/Qwen3-14B", 163840),
        ("Qwen/Qwen3-32B", 262144),
        ("Qwen/Qwen3-30B-A3B", 98304),
        ("Qwen/Qwen3-235B-A22B", 192512),
        ("Qwen/Qwen3-Coder-480B-A35B-Instruct", 253952),
        ("Qwen/Qwen2.5-1.5B-Instruct", 28672),
        ("Qwen/Qwen2.5-7B-Instruct", 57344),
        ("Qwen/Qwen2.5-14B-Instruct", 196608),
        ("Qwen/Qwen2.5-32B-Instruct", 262144),
        ("Qwen/Qwen2.5-72B-Instruct", 327680),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", 131072),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-70B", 327680),
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", 24576),
        ("Qwen/Qwen3.8-27B", 65536),
        ("Qwen/Qwen3.6-35B-A3B", 20480),
        ("Qwen/Qwen3.5-122B-A10B", 24576),
        ("Qwen/Qwen3.5-397B-A17B", 30720),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", 23040),
    ],
)
def test_kv_bytes_per_token_agree_with_vllm_logs(name, kib):
    """The attention shape gives the bytes per token that start-up logs and the published tables have (bf16)."""
    shape = MODELS[name].architecture
    assert shape is not None
    if shape.mla:
        index = shape.mla.indexer_head_dim + shape.mla.indexer_head_dim // 32
        found = shape.layers * ((shape.mla.kv_lora_rank + shape.mla.rope_head_dim) * 2 + index)
    else:
        layers = shape.layers - (shape.linear_attention.layers if shape.linear_attention else 0)
        found = layers * 2 * shape.kv_heads * shape.head_dim * 2
    assert found == kib


@pytest.mark.parametrize(
    ("name", "mib"),
    [
        # 73.7 with a state in fp32, which vLLM keeps in the model's dtype: its config has no rule for this family
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", 37.7),
        ("Qwen/Qwen3.8-27B", 146.8),
        ("Qwen/Qwen3.6-35B-A3B", 61.4),
        ("Qwen/Qwen3.5-122B-A10B", 146.5),
        ("Qwen/Qwen3.5-397B-A17B", 183.2),
    ],
)
def test_state_per_sequence_agrees_with_published_figures(name, mib):
    """The Gated DeltaNet shape gives the state per sequence that is published for the hybrids."""
    shape = MODELS[name].architecture
    assert shape is not None
    assert shape.linear_attention is not None
    gdn = shape.linear_attention
    channels = 2 * gdn.key_heads * gdn.key_head_dim + gdn.value_heads * gdn.value_head_dim
    state = gdn.value_heads * gdn.key_head_dim * gdn.value_head_dim * gdn.state_bytes_per_element
    assert gdn.layers * (state + channels * (gdn.conv_kernel - 1) * 2) / 2**20 == pytest.approx(mib, abs=0.06)


@pytest.mark.parametrize(
    ("name", "gib"),
    [
        ("deepseek-ai/DeepSeek-R1", 626.9),
        ("meta-llama/Llama-3.1-8B-Instruct", 14.96),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-70B", 131.42),
        ("Qwen/Qwen2.5-72B-Instruct", 135.43),
        ("Qwen/Qwen3-14B", 27.51),
        ("Qwen/Qwen3-32B", 61.02),
        ("Qwen/Qwen3-235B-A22B", 437.9),
    ],
)
def test_loaded_bytes_agree_with_published_sizes(name, gib):
    """What vLLM loads is the size that model cards and catalogues give for the checkpoint."""
    assert (MODELS[name].checkpoint.loaded_bytes or 0) / GIB == pytest.approx(gib, abs=0.05)


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if model.checkpoint.loaded_bytes])
def test_byte_counts_are_plausible(name):
    """Files are no smaller than what is loaded from them, and no bf16 checkpoint is smaller than two bytes a weight."""
    model = MODELS[name]
    loaded, disk = model.checkpoint.loaded_bytes or 0, model.checkpoint.disk_bytes
    assert disk is None or disk >= loaded * 0.999
    if model.kv_profile is KvProfile.UNKNOWN or not model.parameters:
        return
    if model.checkpoint.format is WeightFormat.BF16:
        assert 2 * model.parameters <= loaded <= 2.4 * model.parameters
    else:
        assert 0.5 * model.parameters < loaded < 1.2 * model.parameters


# --- models: consistent with themselves and with the engine ----------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_names_of_vllm_exist_in_the_engine_file(name):
    """Parsers, tokenizer mode and cache type a model asks for are in the registries of the pinned vLLM."""
    serving, engine = MODELS[name].serving, CATALOG.vllm
    assert {serving.reasoning_parser} - {None} <= set(engine.reasoning_parsers)
    assert {serving.tool_call_parser} - {None} <= set(engine.tool_call_parsers)
    assert {serving.tokenizer_mode} - {None} <= set(engine.tokenizer_modes)
    assert {serving.kv_cache_dtype} - {None} <= set(engine.kv_cache_dtypes)


@pytest.mark.parametrize("name", MODELS)
def test_model_runs_on_the_pinned_engine(name):
    """No model asks for a newer vLLM than the engine file describes."""
    wanted = MODELS[name].min_vllm or "0"
    assert [*map(int, wanted.split("."))] <= [*map(int, CATALOG.vllm.version.split("."))]


# Families that are published in eight or four bits alone, and have no word for it in their names.
QUANTISED_BY_THEIR_MAKERS = (
    "deepseek-ai/DeepSeek-",
    "openai/gpt-oss-",
    "moonshotai/Kimi-K2",
    "MiniMaxAI/MiniMax-M2",
    "XiaomiMiMo/MiMo-V2",
)
# FP8 without blocks, whose names do not say so.
BY_CHANNEL = ("nvidia/", "zai-org/GLM-4.5")


@pytest.mark.parametrize("name", MODELS)
def test_the_format_is_the_one_in_the_name(name):
    """Repositories that name their quantisation have that format: no variant forgot to replace its checkpoint."""
    suffixes = {
        "-FP8": WeightFormat.FP8_BLOCK128,
        "-FP8-dynamic": WeightFormat.FP8_CHANNEL,
        "-AWQ": WeightFormat.AWQ_INT4,
        "-GPTQ-Int4": WeightFormat.GPTQ_INT4,
        "-NVFP4": WeightFormat.NVFP4,
    }
    checkpoint = MODELS[name].checkpoint
    named = next((kind for suffix, kind in suffixes.items() if name.endswith(suffix)), None)
    if named is None:
        assert checkpoint.format in (WeightFormat.BF16, WeightFormat.MIXED) or name.startswith(
            QUANTISED_BY_THEIR_MAKERS
        )
    else:
        whole = named is WeightFormat.FP8_BLOCK128 and name.startswith(BY_CHANNEL)
        assert checkpoint.format is (WeightFormat.FP8_CHANNEL if whole else named)
    if checkpoint.format not in (WeightFormat.AWQ_INT4, WeightFormat.GPTQ_INT4):
        assert checkpoint.group_size is None
    elif named:
        assert checkpoint.group_size == 128


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if model.architecture])
def test_the_shape_fits_its_profile(name):
    """Heads divide, and MLA, hybrid and plain attention have exactly the parts that belong to them."""
    model, shape = MODELS[name], MODELS[name].architecture
    assert shape is not None
    assert shape.attention_heads % shape.kv_heads == 0
    assert (shape.mla is not None) == (model.kv_profile is KvProfile.MLA)
    assert shape.keeps_state == (model.kv_profile is KvProfile.HYBRID)
    if shape.linear_attention:
        assert shape.linear_attention.layers * 4 == shape.layers * 3


@pytest.mark.parametrize("name", MODELS)
def test_unknown_profiles_have_bytes_instead_of_a_shape(name):
    """A model whose cache nobody can compute gives no shape to compute from, but the size of its weights."""
    model = MODELS[name]
    assert (model.architecture is None) == (model.kv_profile is KvProfile.UNKNOWN)
    assert model.architecture is not None or model.checkpoint.loaded_bytes


@pytest.mark.parametrize("name", MODELS)
def test_context_lengths_are_ordered(name):
    """The native length is within the config's, and YaRN goes beyond it."""
    context = MODELS[name].context
    assert context.native_tokens <= context.config_tokens < (context.yarn_tokens or context.config_tokens + 1)


def test_no_commit_is_claimed_twice():
    """Every pinned commit belongs to one repository, as commits of different repositories do."""
    revisions = [model.revision for model in MODELS.values() if model.revision]
    assert len(revisions) == len(set(revisions))


def test_the_models_of_the_examples_are_pinned():
    """What the shipped stacks serve is pinned to a commit."""
    for name in (
        "Qwen/Qwen3-8B",
        "Qwen/Qwen3-8B-AWQ",
        "Qwen/Qwen3-14B",
        "Qwen/Qwen3-32B",
        "deepseek-ai/DeepSeek-R1-0528",
    ):
        assert MODELS[name].revision is not None


# --- hardware --------------------------------------------------------------------------------------------------------


def test_product_labels_are_unique():
    """A node label leads to one GPU type."""
    labels = [label for gpu in CATALOG.gpus.values() for label in gpu.product_labels]
    assert len(labels) == len(set(labels))
    shapes = {VendorName.NVIDIA: r"(NVIDIA|Tesla)-[A-Za-z0-9-]+", VendorName.AMD: r"AMD_[A-Za-z0-9_]+"}
    for gpu in CATALOG.gpus.values():
        assert all(re.fullmatch(shapes[gpu.vendor], label) for label in gpu.product_labels)


@pytest.mark.parametrize("name", CATALOG.gpus)
def test_cuda_sees_a_little_less_than_nvml(name):
    """What CUDA reports is at most a few per cent below what the driver reports, and never above."""
    gpu = CATALOG.gpus[name]
    assert gpu.cuda_gib is None or 0.95 <= gpu.cuda_gib / (gpu.memory_mib / 1024) < 1


SHAPES: set[type[BaseModel]] = {
    shape
    for module in (charts, engine, platforms, schema, stores)
    for shape in vars(module).values()
    if isinstance(shape, type) and issubclass(shape, BaseModel)
} - {BaseModel}
# Facts that no code of the product reads, and who does: people, or a test of what is rendered or runs.
OTHER_READERS = {
    "sources": "whoever doubts a fact, or renews it",
    "note": "whoever chooses the model in the file",
    "suggested": "whoever looks for a value",
    "litellm_params": "tests/stacks/test_litellm_config.py",
}


PLACES = ("catalog", "planning", "components", "preview", "docs", "workshop")
CODE = "\n".join(file.read_text(encoding="utf-8") for place in PLACES for file in (ROOT / place).rglob("*.py"))


def unread(shape, code: str) -> set[str]:
    """Fields that the code asks for neither as an attribute nor in the table of what vLLM looks up by name."""
    by_name = set(REGISTRIES.values())
    return {name for name in shape.model_fields if name not in by_name and not re.search(rf"\.{name}\b", code)}


@pytest.mark.parametrize("shape", sorted(SHAPES, key=str), ids=lambda shape: shape.__name__)
def test_every_fact_is_read_by_somebody(shape):
    """What no code reads is a fact that nobody notices when it is wrong, unless it is listed with who reads it."""
    assert unread(shape, CODE) - set(OTHER_READERS) == set()


def test_other_readers_really_read():
    """What is listed for a test is a field that no code reads, and is read by that test."""
    tests = {name: ROOT / who for name, who in OTHER_READERS.items() if who.endswith(".py")}
    assert [name for name, file in tests.items() if f".{name}" not in file.read_text(encoding="utf-8")] == []
    assert set(tests) <= {name for shape in SHAPES for name in unread(shape, CODE)}
    assert len(tests) == 1


def test_an_unread_fact_is_really_noticed():
    """A field that stands in a comment or a longer name only is not read."""

    class Shape(schema.Entry):
        read: int
        tool_call_parsers: list[str]
        forgotten: int

    assert unread(Shape, "x = entry.read\ny = entry.forgotten_one  # forgotten") == {"forgotten"}


@pytest.mark.parametrize("name", CATALOG.instances)
def test_instances_carry_known_gpus(name):
    """A machine type names a GPU of the catalogue and as many of them as such machines have."""
    instance = CATALOG.instances[name]
    assert instance.gpu in CATALOG.gpus
    assert instance.gpus in (1, 2, 4, 8)


# --- images and charts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CATALOG.images)
def test_images_have_no_floating_tag(name):
    """Every image is pinned to a full version, in a repository without a tag, as a numeric user that is not root.

    A release of Postgres has two numbers.
    """
    image = CATALOG.images[name]
    numbers = 2 if name in ("postgres", "cloudnative-pg-postgres") else 3
    assert re.fullmatch(rf"v?\d+(\.\d+){{{numbers - 1}}}(-[a-z0-9-]+)?", image.version)
    assert ":" not in image.repository
    assert "@" not in image.repository
    assert image.uid > 0


@pytest.mark.parametrize("name", CATALOG.charts)
def test_charts_have_an_exact_version_and_one_origin(name):
    """A chart has a full version and comes from a repository or an oci:// reference, never both."""
    chart = CATALOG.charts[name]
    assert re.fullmatch(r"v?\d+\.\d+\.\d+", chart.version)
    assert chart.chart.startswith("oci://") == (chart.repository is None)


@pytest.mark.parametrize("file", ["images.yaml", "charts.yaml"])
def test_every_version_can_be_proposed_by_renovate(file):
    """The line above each version tells Renovate where newer ones are."""
    lines = (FOLDER / file).read_text().splitlines()
    versions = [number for number, line in enumerate(lines) if line.startswith("    version: ")]
    assert len(versions) == len(CATALOG.images if file == "images.yaml" else CATALOG.charts)
    for number in versions:
        assert re.match(r" +# renovate: datasource=(docker|helm) depName=\S+", lines[number - 1])


@pytest.mark.parametrize("name", ["vllm", "litellm"])
def test_the_pinned_image_is_the_described_version(name):
    """The engine file describes exactly the version that the image has."""
    assert CATALOG.images[name].version.removeprefix("v") == CATALOG.engines[name].version


# --- engines ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vllm"])
def test_every_role_is_played_by_a_metric_that_is_exported(name):
    """What queries ask for by role is in the list of what this version exports."""
    engine = CATALOG.engines[name]
    assert {role: metric for role, metric in engine.roles.items() if metric not in engine.metrics} == {}
    assert len(engine.roles) > 10


def test_an_engine_says_how_it_is_reached():
    """Port, paths, variables and the name that LiteLLM has for it, none of which stands elsewhere."""
    health = CATALOG.vllm.health
    found = (health.port, health.path, health.api_key_env, health.address_env, health.litellm_provider)
    assert found == (8000, "/health", "VLLM_API_KEY", "VLLM_HOST_IP", "hosted_vllm")


def test_engine_files_give_options_metrics_and_successors():
    """The parts planning reads are there in the shape it reads them: by name, with edges as numbers."""
    vllm = CATALOG.vllm
    assert vllm.options["--max-model-len"].kind == "value"
    assert "--swap-space" in vllm.removed_options
    edges = vllm.metrics["vllm:time_to_first_token_seconds"].buckets
    assert isinstance(edges, list)
    assert 2.5 in edges
    litellm = CATALOG.litellm
    assert "routing_strategy" in litellm.router_settings
    assert litellm.metrics["litellm_remaining_team_budget_metric"].multiprocess_labels == ["pid"]
