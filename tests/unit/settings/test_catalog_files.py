"""Files of the user's own entries: which are read, from where, and what is said of those that cannot be.

Does not prove what the entries mean; that is `tests/unit/planning/test_own_catalog.py`.
"""

from pathlib import Path
from typing import Any

import pytest

from settings.catalog_files import OwnFiles, read_files, read_own

ENTRY = "models:\n  acme/Support:\n    like: Qwen/Qwen3-8B\n"


def files(folder: Path, **texts: str) -> Path:
    """The folder with these files (name without its ending → text)."""
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def own(folder: Path, section: Any, models: Any = None) -> OwnFiles:
    """What is read of a stack with this section for entries."""
    return read_own({"catalog": section, **({} if models is None else {"models": models})}, folder)


def lines(read: OwnFiles) -> list[str]:
    """The refusals."""
    return [str(problem) for problem in read.problems]


def test_entries_come_from_files_and_from_the_stack_file(tmp_path):
    """Those of the stack file have a path in it, those of a file its name and a line."""
    read = own(files(tmp_path, mine=ENTRY), {"files": ["mine.yaml"], "prices": {"g5.xlarge": 0.7}})
    assert [(source.label, dict(source.content)) for source in read.sources] == [
        ("", {"prices": {"g5.xlarge": 0.7}}),
        ("mine.yaml", {"models": {"acme/Support": {"like": "Qwen/Qwen3-8B"}}}),
    ]
    inline, file = read.sources
    assert inline.place("prices", "g5.xlarge") == "catalog.prices.g5.xlarge"
    assert file.place("models", "acme/Support", "like") == "mine.yaml:3"
    # of what is not there, the nearest place above it
    assert file.place("models", "acme/Support", "checkpoint", "format") == "mine.yaml:2"
    assert (lines(read), read.passed_over) == ([], False)


def test_a_stack_without_entries_reads_nothing(tmp_path):
    """The sections stay as they are."""
    sections = {"models": {"m": {"model": "Qwen/Qwen3-8B"}}}
    assert read_own(sections, tmp_path) == OwnFiles(sections)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("models: {a: [\nb: c", "mine.yaml: line 2, column 5: expected ',' or ']', but got "),
        ("- models", "mine.yaml: must be a mapping of keys"),
        ("models: {a: 1, a: 2}", "mine.yaml: line 1, column 16: the key 'a' is given twice"),
        ("models: {a: {note: sk-marker-7d41c2aa90e35b66f1}}", "mine.yaml: models.a.note: holds "),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, text, line):
    """With the place, and no value that might be a secret."""
    said = lines(own(files(tmp_path, mine=text), {"files": ["mine.yaml"]}))
    assert [entry[: len(line)] for entry in said] == [line]
    assert "sk-marker-7d41c2aa90e35b66f1" not in "".join(said)


def test_every_file_that_is_missing_is_named_with_one_that_is_there(tmp_path):
    """All at once, each once."""
    read = own(files(tmp_path, mine=ENTRY), {"files": ["min.yaml", "gone/x.yaml", "min.yaml"]})
    assert lines(read)[:2] == [
        f"min.yaml: there is no such file in {tmp_path}; did you mean 'mine.yaml'?",
        f"gone/x.yaml: there is no such file in {tmp_path}/gone",
    ]


@pytest.mark.parametrize(
    "section",
    [
        7,
        {"files": 7},
        {"files": ["/etc/x.yaml"]},
        {"files": ["x.txt"]},
        {"files": [3]},
        {"models": []},
    ],
)
def test_what_the_settings_refuse_is_passed_over(tmp_path, section):
    """Nothing is read, nothing is said twice, and who looks for an entry knows that some are not there."""
    assert (own(tmp_path, section).sources, lines(own(tmp_path, section))) == ((), [])
    assert own(tmp_path, section).passed_over


def test_a_model_may_be_the_file_of_its_entry(tmp_path):
    """Its repository takes the place of the file, that of a canary too; the file is read once."""
    models = {"m": {"model": "./mine.yaml", "pool": "a", "canary": {"model": "mine.yaml"}}, "n": {"model": "a/b"}}
    read = own(files(tmp_path, mine=ENTRY), None, models)
    assert read.sections["models"] == {
        "m": {"model": "acme/Support", "pool": "a", "canary": {"model": "acme/Support"}},
        "n": {"model": "a/b"},
    }
    assert [source.label for source in read.sources] == ["./mine.yaml"]
    assert models["m"]["model"] == "./mine.yaml"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("gpus: {x: {like: nvidia-l4}}", "models.m.model: mine.yaml has 0 models"),
        (
            "models: {a/b: {}, a/c: {}}",
            "models.m.model: mine.yaml has 2 models: a/b, a/c; name one of them here, and the file in catalog.files",
        ),
    ],
)
def test_a_file_of_several_models_is_no_model(tmp_path, text, line):
    """Nor one of none."""
    assert lines(own(files(tmp_path, mine=text), None, {"m": {"model": "mine.yaml"}})) == [line]


@pytest.mark.parametrize("models", [7, {"m": 7}, {"m": {"model": 7, "canary": 7}}, {"m": {}}])
def test_models_of_any_shape_are_left_alone(tmp_path, models):
    """Whoever checks the settings says what is wrong with them."""
    assert own(tmp_path, None, models).sections["models"] == models


def test_a_path_of_one_machine_is_refused(tmp_path):
    """A model's file has the rule of the others."""
    (problem,) = own(tmp_path, None, {"m": {"model": "/x/mine.yaml"}}).problems
    assert str(problem) == (
        "models.m.model: '/x/mine.yaml' must begin at the folder of Pulumi.yaml, so that every checkout has it"
    )


def test_a_command_takes_files_of_entries_and_stack_files(tmp_path):
    """Of a stack file the section of entries and the files of models, whose paths begin beside it."""
    inner = tmp_path / "project"
    inner.mkdir()
    files(inner, one=ENTRY, two="gpus: {x: {like: nvidia-l4}}")
    stack = "config:\n  llm-stack:catalog: {files: [two.yaml]}\n  llm-stack:models: {m: {model: one.yaml}}\n"
    (inner / "Pulumi.dev.yaml").write_text(stack)
    read = read_files(["project/Pulumi.dev.yaml", "project/one.yaml", "none.yaml"], tmp_path)
    assert [source.label for source in read.sources] == ["two.yaml", "one.yaml", "project/one.yaml"]
    assert lines(read) == [f"none.yaml: there is no such file in {tmp_path}"]


def checkpoint(folder: Path, text: str = '{"model_type": "x"}', **beside: str) -> Path:
    """The folder with the files of a checkpoint (name without its ending → text)."""
    folder.mkdir(parents=True)
    for name, content in {"config": text, **beside}.items():
        (folder / f"{name.replace('__', '.')}.json").write_text(content)
    return folder


@pytest.mark.parametrize(
    "place", ["acme/Support", "hub/models--acme--Support/snapshots/0123456789abcdef0123456789abcdef01234567"]
)
def test_a_model_may_be_a_checkpoint_s_own_file(tmp_path, place):
    """Its folders say which repository it is of; what lies beside it is read, too."""
    checkpoint(tmp_path / place, model__safetensors__index='{"metadata": {}}', hf_quant_config='{"a": 1}')
    named = f"./{place}/config.json"
    read = own(tmp_path, None, {"m": {"model": named, "canary": {"model": named}}})
    assert read.sections["models"] == {"m": {"model": "acme/Support", "canary": {"model": "acme/Support"}}}
    content = {"config": {"model_type": "x"}, "index": {"metadata": {}}, "quantization": {"a": 1}}
    assert [source.content for source in read.sources] == [{"models": {"acme/Support": {"config": content}}}]
    assert read.sources[0].place("models", "acme/Support", "context") == named
    assert lines(read) == []


def test_an_entry_names_the_checkpoint_s_file(tmp_path):
    """Its path begins at the file that names it, or at Pulumi.yaml."""
    checkpoint(tmp_path / "inner" / "a")
    files(tmp_path / "inner", mine="models: {acme/x: {config: a/config.json, license: l}}")
    read = own(tmp_path, {"files": ["inner/mine.yaml"], "models": {"acme/y": {"config": "inner/a/config.json"}}})
    content = {"config": {"model_type": "x"}}
    assert [source.content["models"] for source in read.sources] == [
        {"acme/y": {"config": content}},
        {"acme/x": {"config": content, "license": "l"}},
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{", "config.json: is not readable JSON: Expecting property name enclosed in double quotes"),
        ("[]", "config.json: must be a mapping of keys"),
        ("[" * 100_000, "config.json: is not readable JSON: "),
    ],
)
def test_a_checkpoint_s_file_that_cannot_be_read_is_named(tmp_path, text, line):
    """Where it is named, with why."""
    checkpoint(tmp_path / "a" / "b", text)
    (by_model,) = lines(own(tmp_path, None, {"m": {"model": "a/b/config.json"}}))
    (by_entry,) = lines(own(tmp_path, {"models": {"a/b": {"config": "a/b/config.json"}}}))
    assert by_model.startswith(f"models.m.model: {line}")
    assert by_entry.startswith(f"catalog.models.a/b.config: {line}")


def test_a_file_without_a_repository_is_refused(tmp_path):
    """With both ways to say whose it is; and a file that is not there."""
    files(tmp_path, mine="models: {a/b: {config: gone.json}, c/d: {config: /x.json}}")
    first, second, third = lines(own(tmp_path, {"files": ["mine.yaml"]}, {"m": {"model": "config.json"}}))
    assert first == f"mine.yaml:1: models.a/b.config: gone.json: there is no such file in {tmp_path}"
    assert second.startswith("mine.yaml:1: models.c/d.config: '/x.json' must begin at the folder of Pulumi.yaml")
    assert third == (
        "models.m.model: config.json does not say whose it is: lay it in folders ORG/NAME, or give catalog.models an "
        "entry with config: config.json"
    )


def templates(folder: Path, value: str) -> tuple[object, list[str]]:
    """What a model's template becomes, and the refusals."""
    read = own(folder, None, {"m": {"model": "a/b", "chatTemplate": value}})
    return read.sections["models"]["m"]["chatTemplate"], lines(read)


def test_a_template_is_the_content_of_its_file_or_its_own_text(tmp_path):
    """As vLLM tells them apart: by the signs of Jinja."""
    (tmp_path / "chat.jinja").write_text("{{ messages }}é\n", encoding="utf-8")
    assert templates(tmp_path, "./chat.jinja") == ("{{ messages }}é\n", [])
    assert templates(tmp_path, "{{ messages }}") == ("{{ messages }}", [])


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("gone.jinja", None, "gone.jinja cannot be read: no such file or directory"),
        ("/etc/passwd", None, "'/etc/passwd' must begin at the folder of Pulumi.yaml, so that every checkout has it"),
        ("a.jinja", b"text", "a.jinja has no Jinja in it"),
        ("a.jinja", b"{\xff}", "a.jinja is no text in UTF-8"),
        ("a.jinja", b"{" * 70_000, "a.jinja has 70,000 bytes; at most 65,536"),
        (".", None, ". cannot be read: is a directory"),
    ],
)
def test_a_template_that_cannot_be_read_is_named(tmp_path, name, data, why):
    """It is no template then, and the stack is refused."""
    if data is not None:
        (tmp_path / name).write_bytes(data)
    assert templates(tmp_path, name) == (None, [f"models.m.chatTemplate: {why}"])
