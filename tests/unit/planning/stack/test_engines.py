"""The version of vLLM in an image: what its tag says, what somebody says of it, and what is checked by it.

Does not prove that an image holds what its tag says.
"""

import pytest

from tests.unit.small_stack import A10, CATALOG, CPU, planned, refusals, server, serving, stack

DIGEST = f"sha256:{'a' * 64}"
HOW = "docs/adding-an-engine-version.md says how to add another"
PRICED = {**A10, "pricePerNodeHourUsd": 1}


def unknown(tag: str, key: str = "models.m.engineVersion") -> str:
    """The refusal of a tag."""
    text = f'"{tag}" is of no version of vLLM that is known, 0.32.0 and 0.33.0; use one of those'
    return f"{text}, or give {key} where the image is a build of one; {HOW}"


@pytest.mark.parametrize(
    ("image", "told", "version"),
    [
        ("vllm/vllm-openai:v0.33.0", None, "0.33.0"),
        ("vllm/vllm-openai:v0.32.0", None, "0.32.0"),
        ("reg.corp:5000/mirror/vllm:0.32.0-cu129", None, "0.32.0"),
        (f"vllm/vllm-openai:v0.32.0@{DIGEST}", None, "0.32.0"),
        # builds of a line that mend faults
        ("vllm/vllm-openai:v0.33.1", None, "0.33.0"),
        ("vllm/vllm-openai:v0.32.1.post1", None, "0.32.0"),
        # tags of somebody's own, and none
        ("reg.corp/llm:build-2026-11", "0.32.0", "0.32.0"),
        ("reg.corp/llm:7.1", "0.33.0", "0.33.0"),
        (f"reg.corp/llm@{DIGEST}", "0.32.0", "0.32.0"),
        ("vllm/vllm-openai:v0.32.0", "0.32.0", "0.32.0"),
        ("vllm/vllm-openai:v0.34.0rc1", "0.33.0", "0.33.0"),
    ],
)
def test_an_image_is_checked_by_the_facts_of_its_version(image, told, version):
    """A tag says it, or whoever names the image."""
    given = {} if told is None else {"engineVersion": told}
    assert server(serving(image=image, **given)).image.engine == version


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image": "vllm/vllm-openai:v0.31.0"}, [f"models.m.image: {unknown('v0.31.0')}"]),
        ({"image": "vllm/vllm-openai:v0.34.0"}, [f"models.m.image: {unknown('v0.34.0')}"]),
        ({"image": "reg.corp/llm:build-7"}, [f"models.m.image: {unknown('build-7')}"]),
        ({"image": f"reg.corp/llm@{DIGEST}"}, [
            ("models.m.image: a digest does not say which vLLM is in the image; write repository:version@sha256:…, "
            "or give models.m.engineVersion"),
        ]),
        ({"image": "reg.corp/llm:1.0.0", "engineVersion": "0.31.0"}, [
            f'models.m.engineVersion: "0.31.0" is no version of vLLM that is known, 0.32.0 and 0.33.0; {HOW}',
        ]),
        ({"image": "reg.corp/llm:v0.33.0", "engineVersion": "0.32.0"}, [
            "models.m.engineVersion: is 0.32.0, and the image says v0.33.0; leave it out, or write another tag",
        ]),
        ({"engineVersion": "0.32.0"}, [
            "models.m.engineVersion: is of an image that is not given; give image, or leave it out",
        ]),
        # a tag that must not run is said alone
        ({"image": "vllm/vllm-openai:latest"}, [
            'models.m.image: "latest" is a floating tag; name an exact version',
        ]),
    ],
)  # fmt: skip
def test_an_image_of_which_nothing_is_known_is_refused(changes, said):
    """With what to write, and where it says how a version is added."""
    assert refusals(serving(**changes)) == said


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"vllm": {"version": "v0.31.0"}}, [
            f"images.overrides.vllm.version: {unknown('v0.31.0', 'images.overrides.vllm.engineVersion')}",
        ]),
        ({"redis": {"version": "8.9.0", "engineVersion": "0.33.0"}}, [
            ("images.overrides.redis.engineVersion: is of images with vLLM, and redis has none; leave it out"),
        ]),
        ({"vllm": {"repository": "reg.corp/vllm", "version": "b7", "engineVersion": "0.32.0"}}, []),
    ],
)  # fmt: skip
def test_an_override_is_judged_once_for_all_its_servers(overrides, said):
    """Two models with the image of the stack are one mistake."""
    models = {name: {"model": "Qwen/Qwen3-14B", "pool": "a10", "contextTokens": 8192} for name in ("a", "b")}
    assert refusals(stack(images={"overrides": overrides}, models=models)) == said


# --- what follows from the version ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "argument", "said"),
    [
        ("v0.33.0", "--watchdog-config={}", []),
        ("v0.32.0", "--watchdog-config={}", [
            "models.m.args[0]: vLLM 0.32.0 has no option --watchdog-config, 0.33.0 has",
        ]),
        ("v0.33.0", "--disable-log-requests", []),
        ("v0.32.0", "--disable-log-requests", [
            ("models.m.args[0]: --disable-log-requests was removed from vLLM 0.32.0: drop it, requests are not logged "
            "unless --enable-log-requests asks for it"),
        ]),
        ("v0.33.0", "--tool-call-parser=muse", []),
        ("v0.32.0", "--kv-cache-dtype=octave_k3v4", ["models.m.args[0]: --kv-cache-dtype is decided by kvCacheDtype"]),
        ("v0.32.0", "--no-enable-chunked-prefill", []),
    ],
)  # fmt: skip
def test_arguments_are_those_of_the_images_version(image, argument, said):
    """An option that only the other version has is refused, and so is a word it does not know."""
    raw = serving(image=f"vllm/vllm-openai:{image}", args=[argument], contextTokens=2048)
    assert [text[: len(said[0])] if said else text for text in refusals(raw)] == said


def test_words_are_those_of_the_images_version():
    """Parsers and dtypes of caches came and went, too."""
    image = "vllm/vllm-openai:v0.32.0"
    assert refusals(serving(image=image, args=["--tool-call-parser=muse"]))[0].startswith(
        "models.m.args[0]: --tool-call-parser muse: vLLM 0.32.0 has none of that name"
    )
    assert refusals(serving(image=image, kvCacheDtype="octave_k3v4"))[0].startswith(
        "models.m.kvCacheDtype: vLLM has no KV cache dtype 'octave_k3v4'"
    )


@pytest.mark.parametrize("negative", ["--no-enable-chunked-prefill", "--disable-chunked-prefill"])
def test_options_are_counted_whatever_their_spelling_is_in_a_version(negative):
    """Prompts that are not cut take steps of a whole context."""
    wanted = serving(A10, model="Qwen/Qwen3-8B", contextTokens=16384, maxNumSeqs=16)
    plain = server(wanted).memory.activation_gib
    whole = serving(A10, model="Qwen/Qwen3-8B", contextTokens=16384, maxNumSeqs=16, args=[negative])
    assert server(whole).memory.activation_gib > plain


def test_a_canary_and_its_model_are_checked_each_by_its_own():
    """What the model is given the canary is given, too, and its version may not have it."""
    canary = {"weight": 10, "image": "vllm/vllm-openai:v0.32.0", "args": ["--sleep-mode-backend=cumem"]}
    model = {"contextTokens": 8192, "args": ["--watchdog-config={}"]}
    assert refusals(serving(**model, canary=canary)) == [
        "models.m.canary.args[0]: vLLM 0.32.0 has no option --sleep-mode-backend, 0.33.0 has",
        "models.m.args[0]: vLLM 0.32.0 has no option --watchdog-config, 0.33.0 has",
    ]


def test_a_canary_does_not_inherit_what_was_said_of_another_image():
    """The version is that of the image it belongs to."""
    model = {"contextTokens": 8192, "image": "reg.corp/llm:7.1", "engineVersion": "0.33.0"}
    plan = planned(serving(**model, canary={"weight": 10, "image": "vllm/vllm-openai:v0.32.0"}))
    assert [each.image.engine for each in plan.servers] == ["0.33.0", "0.32.0"]


def test_a_build_that_nobody_looked_at_is_said():
    """A line is checked by the version of it that is known."""
    assert planned(serving(PRICED, image="vllm/vllm-openai:v0.33.1")).warnings == (
        "vllm-m: its arguments were checked against vLLM 0.33.0, the image is 0.33.1",
    )
    assert planned(serving(PRICED, image="vllm/vllm-openai:v0.32.0-cu129")).warnings == ()
    assert planned(serving(PRICED, image="reg.corp/llm:b7", engineVersion="0.32.0")).warnings == ()


def test_a_cpu_server_is_checked_by_its_own_version():
    """The stack of this machine runs the newest CPU build of PyPI, a version behind."""
    raw = serving(CPU, model="Qwen/Qwen3-8B-AWQ", contextTokens=8192, args=["--monokernel"])
    assert refusals({**raw, "images": {"overrides": {"vllm-cpu": {"version": "v0.32.0"}}}}) == [
        "models.m.args[0]: vLLM 0.32.0 has no option --monokernel, 0.33.0 has"
    ]
    assert CATALOG.images["vllm-cpu"].version == "v0.33.0"
