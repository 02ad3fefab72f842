"""Versions of one program: a file says what differs from another, and whoever asks has the whole of it.

Does not prove that the differences are true; tests/vllm/test_engine_file.py asks the real program.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import load_catalog
from catalog.commands.engine_file import UNCLASSIFIED, as_yaml, changes, parsed
from catalog.engine import Effect
from catalog.versions import UnknownBase, by_name, difference, joined, resolved

CATALOG = load_catalog()
OLD, NEW = (CATALOG.versions["vllm"][version] for version in ("0.32.0", "0.33.0"))


def test_a_file_is_another_with_its_own_changes():
    """Mappings are joined, null takes away, lists of named entries count as mappings, other lists are replaced."""
    whole = resolved(
        {
            "2": {
                "version": "2", "source": {"read": "now"}, "options": {"--a": {"kind": "flag"}, "--b": {"kind": "x"}},
                "metrics": [{"name": "x", "labels": ["p"]}, {"name": "y", "labels": []}], "words": ["a", "b"],
            },
            "1": {
                "version": "1", "like": "2", "options": {"--a": None, "--b": {"default": 1}},
                "metrics": {"x": {"labels": ["q"]}, "y": None}, "words": ["a"],
            },
        }
    )  # fmt: skip
    assert whole["1"] == {
        "version": "1",
        "options": {"--b": {"kind": "x", "default": 1}},
        "metrics": {"x": {"name": "x", "labels": ["q"]}},
        "words": ["a"],
    }


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"1": {"like": "2"}}, "there is no file of version 2"),
        ({"1": {"like": "2"}, "2": {"like": "1"}}, "goes in a circle: 1 → 2 → 1"),
        ({"1": {"like": "1"}}, "goes in a circle: 1 → 1"),
    ],
)
def test_a_base_that_is_not_there_is_refused(files, message):
    """So is one that leads back."""
    with pytest.raises(UnknownBase, match=message):
        resolved(files)


def test_entries_need_a_name_each_once():
    """Without one they cannot be changed."""
    with pytest.raises(ValueError, match="every item needs a name"):
        by_name([{"name": "x"}, {"name": "x"}])
    with pytest.raises(ValueError, match="every item needs a name"):
        by_name([{"name": "x"}, {"nam": "y"}])


WORDS = st.sampled_from(["a", "b", "c"])
TREES = st.recursive(st.integers(0, 3) | WORDS, lambda below: st.dictionaries(WORDS, below, max_size=3), max_leaves=8)
FILES = st.dictionaries(WORDS, TREES, max_size=3)


@given(base=FILES, other=FILES)
def test_the_difference_of_two_makes_the_other_of_the_first(base, other):
    """What is printed for a new version, put beside the old one, is the new version."""
    assert joined(base, difference(base, other)) == other


# --- what is in the files ---------------------------------------------------------------------------------------------


def test_the_pinned_version_is_the_one_of_the_image():
    """Files of other versions change nothing for whoever names no image."""
    assert (CATALOG.vllm.version, list(CATALOG.versions["vllm"])) == ("0.33.0", ["0.32.0", "0.33.0"])


def test_a_catalogue_runs_another_version():
    """All else is as it was."""
    other = CATALOG.running("vllm", "0.32.0")
    assert (other.vllm, other.litellm, other.models) == (OLD, CATALOG.litellm, CATALOG.models)
    assert CATALOG.running("vllm", "0.33.0") is CATALOG


@pytest.mark.parametrize("version", CATALOG.versions["vllm"])
def test_every_version_has_what_the_plan_asks_for(version):
    """Roles name metrics, tasks known options, and every option says what it does."""
    engine = CATALOG.versions["vllm"][version]
    assert {role: name for role, name in engine.roles.items() if name not in engine.metrics} == {}
    assert {option.effect for option in engine.options.values()} <= set(Effect)
    assert set(engine.roles) == set(NEW.roles)
    assert engine.slices.keys() == NEW.slices.keys()


def test_versions_differ_where_they_do():
    """Some of what was read in both: options that came, a negative that was spelt otherwise, a default, a metric."""
    assert NEW.options.keys() - OLD.options.keys() == {
        "--monokernel", "--reasoning-effort-map", "--sleep-mode-backend", "--watchdog-config",
    }  # fmt: skip
    assert OLD.options.keys() - NEW.options.keys() == set()
    negatives = [engine.options["--enable-prefix-caching"].spellings for engine in (OLD, NEW)]
    assert negatives == [["--no-enable-prefix-caching"], ["--no-enable-prefix-caching", "--disable-prefix-caching"]]
    assert NEW.metrics.keys() - OLD.metrics.keys() == {"vllm:kv_offload_config_info"}
    assert set(NEW.tool_call_parsers) - set(OLD.tool_call_parsers) == {"beam", "muse", "musespark1x", "step5"}


# --- the file of a new version ----------------------------------------------------------------------------------------


def facts(**changed: object) -> dict[str, object]:
    """What a version would say of itself that is the new one but for `changed`."""
    words = ("reasoning_parsers", "tool_call_parsers", "load_formats", "kv_cache_dtypes", "tokenizer_modes")
    same = {field: list(getattr(NEW, field)) for field in words}
    return {
        "version": "9",
        "options": {name: parsed(option) for name, option in NEW.options.items()},
        "contents": NEW.contents,
        **same,
        **changed,
    }


def test_a_version_that_says_the_same_has_no_difference():
    """The file is empty but for its head."""
    assert (changes(NEW, facts()), as_yaml({})) == ({}, "")


def test_a_new_option_waits_for_its_effect():
    """The parser does not know what it does; a gone one is null, a changed one says only what changed."""
    options = {name: parsed(option) for name, option in NEW.options.items()}
    del options["--seed"]
    options |= {"--fresh": {"kind": "flag", "negative": "--no-fresh", "default": False}}
    options["--port"] = {**options["--port"], "default": 9000}
    different = changes(NEW, facts(options=options, tokenizer_modes=["hf"]))
    assert as_yaml(different) == (
        "options:\n"
        "  --seed: null\n"
        "  --port: {default: 9000}\n"
        f"  --fresh: {{kind: flag, negative: --no-fresh, default: false, effect: {UNCLASSIFIED}}}\n"
        "tokenizer_modes:\n"
        "  [hf]\n"
    )
