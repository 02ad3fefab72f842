"""The catalogue with entries of the user's own: `like` across both, the same checks, and everything wrong at once.

Does not prove how files are read; that is `tests/unit/settings/test_catalog_files.py`.
"""

from typing import Any

import pytest

from catalog import load_catalog
from catalog.load import Catalog
from catalog.own import NOTHING
from planning import resolve_stack
from planning.own_catalog import own_catalog, own_warnings
from settings import Refused, validate
from settings.catalog_files import EntrySource, OwnFiles
from tests.unit.small_stack import serving, stack

CATALOG = load_catalog()
SUPPORT = {"like": "Qwen/Qwen3-8B", "revision": "0" * 39 + "1"}
CARD = {
    "name": "Acme 30 GB",
    "productLabels": ["ACME-30GB"],
    "memoryMib": 30720,
    "computeCapability": "9.0",
    "memoryGbPerS": 900,
}


def merged(*sources: dict[str, Any], **sections: Any) -> Catalog:
    """The catalogue with entries of the stack file, and with those of one file per further mapping."""
    inline = [EntrySource(sections)] if sections else []
    return own_catalog(
        CATALOG, OwnFiles({}, (*inline, *(EntrySource(source, f"{n}.yaml") for n, source in enumerate(sources))))
    )


def faults(*sources: dict[str, Any], **sections: Any) -> list[str]:
    """What is wrong with entries."""
    return [f"{fault.place}: {fault.message}" for fault in merged(*sources, **sections).own.faults]


def test_without_entries_it_is_the_project_s_own():
    """The same object, so that nothing is slower for those who have none."""
    assert own_catalog(CATALOG, OwnFiles()) is CATALOG
    assert CATALOG.own is NOTHING


def test_a_fine_tune_is_like_its_base():
    """It has the shape and the bytes of the base, its own commit, and its file for a source."""
    model = merged({"models": {"acme/Support": SUPPORT}}).models["acme/Support"]
    base = CATALOG.models["Qwen/Qwen3-8B"]
    assert model == base.model_copy(update={"revision": SUPPORT["revision"], "sources": ["0.yaml"], "note": None})


def test_like_goes_across_files_the_stack_file_and_the_project():
    """In any order, deep inside of mappings, and an entry of the user's comes before one of the project's."""
    catalog = merged(
        {"models": {"acme/c": {"like": "acme/b", "architecture": {"tiedEmbeddings": False}, "note": "n"}}},
        {"models": {"Qwen/Qwen3-8B": {"like": "Qwen/Qwen3-8B", "license": "mine"}}},
        models={"acme/b": {"like": "Qwen/Qwen3-8B", "family": "b"}},
    )
    model = catalog.models["acme/c"]
    assert (model.family, model.license, model.note) == ("b", "mine", "n")
    assert model.architecture == CATALOG.models["Qwen/Qwen3-8B"].architecture
    assert catalog.models["Qwen/Qwen3-14B"] is CATALOG.models["Qwen/Qwen3-14B"]


def test_an_entry_in_the_place_of_the_project_s_is_said_aloud():
    """With where it stands."""
    catalog = merged(
        {"gpus": {"nvidia-l4": {"like": "nvidia-l4", "cudaGib": 21.9}}},
        models={"Qwen/Qwen3-8B": {"like": "Qwen/Qwen3-14B"}},
    )
    assert own_warnings(catalog) == [
        "catalog: Qwen/Qwen3-8B of catalog.models.Qwen/Qwen3-8B replaces the project's",
        "catalog: nvidia-l4 of 0.yaml replaces the project's",
    ]
    assert catalog.gpus["nvidia-l4"].cuda_gib == 21.9


def test_a_card_a_machine_and_prices_need_no_fork():
    """A pool of them is planned: labels, memory, price."""
    catalog = merged(
        gpus={"acme-30gb": CARD, "acme-l4": {"like": "nvidia-l4"}},
        instances={"acme.2": {"gpu": "acme-30gb", "gpus": 2, "usdPerHour": 3.0}},
        prices={"acme-l4": 0.25, "acme.2": 2.0},
    )
    assert catalog.own.faults == ()
    karpenter = {"kind": "karpenter", "instanceTypes": ["acme.2"]}
    pools = {
        "a10": {"gpu": "acme-30gb", "nodes": 1, "gpusPerNode": 2, "provisioning": karpenter},
        "b": {"gpu": "acme-l4", "nodes": 1, "gpusPerNode": 4},
    }
    settings, problems = validate(stack(gpuPools=pools, models={"m": {"model": "Qwen/Qwen3-8B", "pool": "b"}}))
    plan = resolve_stack(settings, catalog, problems)
    assert (plan.pools["a10"].usd_per_node_hour, plan.pools["b"].usd_per_node_hour) == (2.0, 1.0)
    assert plan.pools["b"].reasons == {
        "pricePerNodeHourUsd": "estimate: what NVIDIA L4 24 GB costs by catalog; give yours"
    }
    assert plan.pools["a10"].expected_gpu_memory_mib == 30720


@pytest.mark.parametrize(
    ("sections", "lines"),
    [
        ({"model": {}}, ["catalog.model: unknown key 'model'; did you mean 'models'?"]),
        ({"models": []}, ["catalog.models: models: must be a mapping from name to entry"]),
        ({"models": {"a/b": None}}, ["catalog.models.a/b: is empty; give a value, or leave the key out"]),
        ({"models": {"a/b": {"like": ["c"]}}}, ["catalog.models.a/b.like: must be the name of an entry"]),
        (
            {"models": {"a/b": {"like": "Qwen/Qwen3-8C"}}},
            ["catalog.models.a/b.like: there is no entry 'Qwen/Qwen3-8C'; did you mean 'Qwen/Qwen3-8B'?"],
        ),
        (
            {"models": {"a/b": {"like": "a/c"}, "a/c": {"like": "a/d"}, "a/d": {"like": "a/c"}}},
            ["catalog.models.a/d.like: goes in a circle: a/b → a/c → a/d → a/c"],
        ),
        (
            {"gpus": {"x": {"like": "nvidia-l4", "memoryMb": 3, "cudaGib": "much"}}},
            [
                'catalog.gpus.x.cudaGib: "much" must be a number',
                "catalog.gpus.x.memoryMb: unknown key; did you mean 'memoryMib'?",
            ],
        ),
        (
            {"models": {"a/b": {**SUPPORT, "architecture": {"moe": {"expert": 3}}}}},
            [
                "catalog.models.a/b.architecture.moe.experts: is missing",
                "catalog.models.a/b.architecture.moe.expertsPerToken: is missing",
                "catalog.models.a/b.architecture.moe.intermediateSize: is missing",
                "catalog.models.a/b.architecture.moe.expert: unknown key; did you mean 'experts'?",
            ],
        ),
        (
            {"gpus": {"all": {"like": "nvidia-l4"}}},
            ["catalog.gpus.all: is a word of its own where a GPU is named; use another id"],
        ),
        (
            {"instances": {"x": {"gpu": "nvidia-l5", "gpus": 1}}},
            ["catalog.instances.x.gpu: 'nvidia-l5' is no GPU of the catalogue"],
        ),
        (
            {"prices": {"g5.xlarg": 3, "nvidia-l4": -1, "nvidia-h100": "3 USD"}},
            [
                "catalog.prices.g5.xlarg: there is no machine type and no GPU 'g5.xlarg'; did you mean 'g5.xlarge'?",
                "catalog.prices.nvidia-l4: -1 must be greater than 0",
                'catalog.prices.nvidia-h100: "3 USD" must be a number',
            ],
        ),
    ],
)
def test_what_is_wrong_is_named_with_key_and_fix(sections, lines):
    """Each fault once, all of them at once."""
    assert faults(**sections) == lines


def test_what_contradicts_itself_is_told_with_what_is_misspelt():
    """One wave: the parser is looked up although the context is broken, and the bytes although a key is unknown."""
    entry = {
        "like": "Qwen/Qwen3-8B",
        "context": {"nativeTokens": 0},
        "serving": {"reasoningParser": "qwen"},
        "architecture": {"layers": 72},
        "licence": "x",
    }
    said = faults(models={"a/b": entry})
    assert [line.partition(": ")[0].removeprefix("catalog.models.a/b.") for line in said] == [
        "context.nativeTokens",
        "licence",
        "serving.reasoningParser",
        "checkpoint.loadedBytes",
        "parameters",
    ]


def test_a_name_twice_is_refused():
    """In two files, or in one and the stack file: neither may win by its place."""
    assert faults({"models": {"a/b": SUPPORT}}, {"models": {"a/b": SUPPORT}}) == [
        "1.yaml: models.a/b: is in 0.yaml already"
    ]


def test_a_file_without_entries_is_refused():
    """Nobody names one for that."""
    assert faults({}) == ["0.yaml: has none of models, gpus, instances, prices"]


def refused(catalog: Catalog, raw: dict[str, Any]) -> list[str]:
    """Everything that is said against a stack with this catalogue."""
    settings, problems = validate(raw)
    with pytest.raises(Refused) as caught:
        resolve_stack(settings, catalog, problems)
    return [str(problem) for problem in caught.value.problems]


def test_faults_are_told_with_those_of_the_stack_and_make_no_others():
    """A model whose entry is broken is not called unknown; what else is wrong is there in the same wave."""
    catalog = merged({"models": {"a/b": {"like": "Qwen/Qwen3-8C"}}, "gpus": {"x": {"memoryMib": 3}}})
    pools = {
        "a10": {"gpu": "x", "nodes": 1, "gpusPerNode": 1},
        "other": {"gpu": "nvidia-l5", "nodes": 1, "gpusPerNode": 1},
    }
    said = refused(
        catalog,
        stack(
            gpuPools=pools, models={"m": {"model": "a/b", "pool": "a10"}, "n": {"model": "Qwen/Qwen3-8", "pool": "a10"}}
        ),
    )
    assert [line.partition(": ")[0] for line in said] == [
        "0.yaml",
        *["0.yaml"] * 2,
        "gpuPools.other.gpu",
        "models.n.model",
    ]


def test_of_what_a_missing_file_may_have_nothing_is_said():
    """The file is the problem, and the model in it none of its own."""
    settings, problems = validate(serving(model="acme/Support"))
    catalog = own_catalog(CATALOG, OwnFiles({}, (), tuple(validate({})[1][:1])))
    with pytest.raises(Refused) as caught:
        resolve_stack(settings, catalog, problems)
    assert len(caught.value.problems) == 1


# Figures of the published config.json of Qwen/Qwen3-0.6B.
CONFIG = {
    "architectures": ["Qwen3ForCausalLM"],
    "attention_bias": False,
    "head_dim": 128,
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "max_position_embeddings": 40960,
    "model_type": "qwen3",
    "num_attention_heads": 16,
    "num_hidden_layers": 28,
    "num_key_value_heads": 8,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "vocab_size": 151936,
}


def test_an_entry_is_made_of_the_checkpoint_s_own_file():
    """What the file says is that of the shipped entry; the entry itself changes it, and keeps its own commit."""
    made = merged({"models": {"acme/x": {"config": {"config": CONFIG}, "license": "mine", "revision": "1" * 40}}})
    model, shipped = made.models["acme/x"], CATALOG.models["Qwen/Qwen3-0.6B"]
    assert (model.architecture, model.context.config_tokens) == (shipped.architecture, 40960)
    assert (model.license, model.revision, model.sources) == ("mine", "1" * 40, ["0.yaml"])
    assert own_warnings(made) == []


def test_what_the_file_does_not_say_is_told():
    """As a sentence for a reviewer; where nothing can be planned without it, as a fault."""
    made = merged({"models": {"acme/x": {"config": {"config": CONFIG}}}})
    assert own_warnings(made) == ["catalog: acme/x: license is not in these files: it is on the model card"]
    strange = {**CONFIG, "architectures": ["StrangeForCausalLM"]}
    (fault,) = faults({"models": {"acme/x": {"config": {"config": strange}}}})
    assert "architectures: 'StrangeForCausalLM' is none whose KV cache is proved here" in fault
    sized = {"config": {"config": strange}, "license": "m", "checkpoint": {"format": "mixed", "loadedBytes": 10**9}}
    assert merged({"models": {"acme/x": sized}}).models["acme/x"].kv_profile.value == "unknown"


@pytest.mark.parametrize("entry", [{"config": 3}, {"config": {"config": CONFIG}, "like": "Qwen/Qwen3-8B"}])
def test_a_file_and_a_base_exclude_each_other(entry):
    """Both say what the shape is."""
    assert faults(models={"acme/x": entry}) == [
        "catalog.models.acme/x.config: must be the path of a config.json, and no like beside it"
    ]
