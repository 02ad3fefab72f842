"""Options by what they do: refused with the field that helps, or warned about; values and spellings matter.

Which option does what is in the engine's file, read from the sources of vLLM; no vLLM is asked here.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.engine import Effect
from planning.capacity.options import effects, read_options
from planning.server.effects import option_warnings
from planning.server.measured import hint
from tests.unit.small_stack import CATALOG, CPU, planned, properties, refusals, serving

ENGINE = CATALOG.vllm
MEASURED = {"weightsGibPerGpu": 13.8, "kvTokens": 32768, "gpus": 2}
PROFILE = hint("models.m")
COUNT = "changes the memory by what is not counted"
FILES = "needs files that no server has"
NETWORK = "needs the network, and no way of network.extraEgress is of models.m"
OPEN = "open the way there, or leave it out"
HOST = "takes memory of the pod that is not counted"
CODE = "it is code that the image must hold; give models.m.image with an image that has it"
OWN = "use models.m.model with a repository that has the right one"


def effect(*args: str) -> list[str]:
    """The effects of arguments."""
    return [case.effect.value for _, case in effects(read_options(args, ENGINE), ENGINE)]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--block-size=32"],
         f"--block-size 32 {COUNT}: blocks of the KV cache have other sizes; leave it out, or {PROFILE}"),
        (["--seed=1", "-cc.mode=0"],
         f'-cc {{"mode": 0}} {COUNT}: CUDA graphs of other sizes are captured; leave it out, or {PROFILE}'),
        (["--lora-modules", "a=/x"],
         f"--lora-modules a=/x {FILES}: models.m.adapters delivers adapters; write them there"),
        (["--tokenizer=org/x"], f"--tokenizer org/x {FILES}: the checkpoint brings its own; {OWN}"),
        (["--chat-template=/x.jinja"],
         f"--chat-template /x.jinja {FILES}: give models.m.chatTemplate the file, or its text here"),
        (["--middleware", "vllm.a", "--middleware", "mine.b"], f"--middleware vllm.a mine.b {FILES}: {CODE}"),
        (["--spec-model=org/draft"],
         f"--spec-model org/draft {FILES}: models.m.speculative delivers the draft; write it there"),
        (["--otlp-traces-endpoint=http://x:4317"],
         f"--otlp-traces-endpoint http://x:4317 {NETWORK}: traces go to a collector; {OPEN}"),
        (["--kv-transfer-config", '{"kv_connector":"NixlConnector"}'],
         (f'--kv-transfer-config {{"kv_connector": "NixlConnector"}} {NETWORK}: '
         f"blocks go to other servers; {OPEN}")),
        (["--load-format=tensorizer"],
         f"--load-format tensorizer {NETWORK}: weights come from another server; {OPEN}"),
        (["--safetensors-load-strategy=eager"],
         (f"--safetensors-load-strategy eager {HOST}: whole files are read into it; give models.m.memoryGib with room "
         "for it, or leave it out")),
        (["--help"], "--help must be left out: it prints the options and ends, so that no pod is ever ready"),
        (["--grpc"], "--grpc must be left out: it serves gRPC in place of HTTP, so that no pod is ever ready"),
        (["-asc=0"], "-asc must be left out: without one the server answers nobody"),
        (["-tp", "1"], "-tp is decided by tensorParallel"),
        (["--kv-cache-dtype=auto"], "--kv-cache-dtype is decided by kvCacheDtype"),
        (["--hf-token=x"],
         "--hf-token must be left out: the server has no internet; the download reads its token from a Secret"),
    ],
)  # fmt: skip
def test_an_option_that_cannot_be_is_refused_with_what_helps(args, message):
    """Each at the word that decides, with its value, the rule and the nearest fix."""
    place = max(place for place, word in enumerate(args) if word.startswith("-"))
    assert refusals(serving(tensorParallel=2, args=args)) == [f"models.m.args[{place}]: {message}"]


@pytest.mark.parametrize(
    "args",
    [
        ["--cpu-offload-gb=0"],
        ["--cpu-offload-gb=0.0"],
        ["--cpu-offload-gb=4", "--cpu-offload-gb=0"],
        ["--enable-sleep-mode", "--no-enable-sleep-mode"],
        ["--no-enable-lora"],
        ["--no-trust-remote-code"],
        ["--enable-chunked-prefill"],
        ["--offload-backend=auto"],
        ["--attention-backend=auto"],
        ["--load-format=safetensors"],
        ["--chat-template={{ messages }}"],
        ["--generation-config=vllm"],
        ["--max-logprobs=5"],
        ["--scheduler-cls=vllm.v1.core.sched.scheduler.Scheduler"],
        ["--api-server-count=1"],
        ["-O3"],
        ["--structured-outputs-config.backend=xgrammar"],
        ["--logging-config.log_level=INFO"],
        ["--prefix-caching-hash-algo=sha256_cbor"],
        ["--hf-overrides", '{"rope_parameters":{"rope_type":"yarn","factor":4.0}}'],
    ],
)
def test_a_value_that_changes_nothing_is_allowed_in_silence(args):
    """Defaults, negatives, names of what the image has, and the last of several."""
    plan = planned(serving(tensorParallel=2, args=args))
    assert [text for text in plan.warnings if text.startswith("vllm-m: -")] == []


@pytest.mark.parametrize(
    ("args", "effect_of_it"),
    [
        (["--enable-chunked-prefill"], "nothing"),
        (["--no-enable-chunked-prefill"], "counted"),
        (["--disable-hybrid-kv-cache-manager"], "uncounted"),
        (["--enable-hybrid-kv-cache-manager"], "nothing"),
        (["--no-swa-bounded-replay"], "uncounted"),
        (["--disable-log-deltas"], "nothing"),
    ],
)
def test_which_side_of_a_flag_does_something_is_known(args, effect_of_it):
    """Of flags that vLLM sets by itself, either may."""
    assert effect(*args) == [effect_of_it]


def test_measured_figures_stand_for_what_is_not_counted():
    """They were read from a start with it."""
    assert refusals(serving(args=["--block-size=32"], contextTokens=8192)) != []
    planned(serving(args=["--block-size=32"], contextTokens=8192, measured=MEASURED))


def test_memory_that_was_given_stands_for_what_is_not_counted_of_it():
    """Whoever gives `memoryGib` says how much there is."""
    planned(serving(tensorParallel=2, args=["--safetensors-load-strategy=eager"], memoryGib=48))


def test_a_server_without_gpus_has_no_measured_figures_to_give():
    """So the refusal does not send anybody there."""
    raw = serving(CPU, model="Qwen/Qwen3-0.6B", contextTokens=2048, args=["--block-size=32"])
    assert refusals(raw) == [
        f"models.m.args[0]: --block-size 32 {COUNT}: blocks of the KV cache have other sizes; leave it out"
    ]


def test_a_canary_is_refused_for_its_own_words_only():
    """What it has from its model is said of that, once; measured figures of one checkpoint are not those of another."""
    canary = {"weight": 10, "args": ["--ubatch-size=2"]}
    text = f"{COUNT}: blocks of the KV cache have other sizes; leave it out, or {PROFILE}"
    steps = f"{COUNT}: steps are cut otherwise; leave it out, or {PROFILE.replace('models.m.', 'models.m.canary.')}"
    assert refusals(serving(tensorParallel=2, args=["--block-size=32"], canary=canary)) == [
        f"models.m.args[0]: --block-size 32 {text}",
        f"models.m.canary.args[0]: --ubatch-size 2 {steps}",
    ]
    other = {"weight": 10, "model": "Qwen/Qwen3-8B"}
    raw = serving(contextTokens=8192, args=["--block-size=32"], measured=MEASURED, canary=other)
    assert refusals(raw) == [
        f"models.m.args[0]: --block-size 32 {text.replace('models.m.', 'models.m.canary.')}",
    ]


@pytest.mark.parametrize(
    ("args", "warned"),
    [
        (["--trust-remote-code"], "--trust-remote-code runs Python of the checkpoint's repository inside the server"),
        (["--allowed-local-media-path=/"],
         "--allowed-local-media-path / lets requests read files of the pod below that path"),
        (["--load-format=pt"], "--load-format pt may run code that is hidden in a pickle"),
        (["--enable-log-requests"], "--enable-log-requests writes what users say, or are told, into the log"),
        (["--max-logprobs=-1"],
         "--max-logprobs -1 lets a request ask for more log probabilities per token than there is memory for"),
        (["--disable-log-stats"],
         "--disable-log-stats switches the metrics off, so that scaling and alerts see nothing"),
        (["--disable-cascade-attn"],
         "--disable-cascade-attn is deprecated: no effect; announced for removal in 0.33.0, still parsed"),
    ],
)  # fmt: skip
def test_a_risk_is_warned_about(args, warned):
    """It works, and a reviewer should know."""
    assert [text for text in planned(serving(tensorParallel=2, args=args)).warnings if "vllm-m: -" in text] == [
        f"vllm-m: {warned}"
    ]


def test_what_the_plan_writes_itself_is_no_risk():
    """The usual command line has no option to warn about."""
    assert list(option_warnings(planned(serving(tensorParallel=2)).servers, CATALOG)) == []


@pytest.mark.parametrize("name", sorted(ENGINE.options))
def test_every_option_does_something_known(name):
    """Its effect is one of the closed set, explained unless there is none; a flag's default has none."""
    option = ENGINE.options[name]
    cases = [option, *option.when]
    assert [case for case in cases if case.effect is not Effect.NOTHING and not case.why] == []
    if isinstance(option.default, bool) and option.effect is not Effect.PLANNED:
        assert option.case_of(str(option.default).lower()).effect is Effect.NOTHING


def test_every_spelling_does_the_same():
    """All 486 of them, shown and hidden, long and short, lead to one option."""
    assert {name: ENGINE.spellings[name] for name in ENGINE.options} == {name: name for name in ENGINE.options}
    hidden = [spelling for option in ENGINE.options.values() for spelling in option.hidden]
    assert (len(ENGINE.options), len(ENGINE.spellings), len(hidden)) == (321, 486, 50)
    assert all(spelling.startswith("--no-") for spelling in hidden)


@given(st.lists(st.sampled_from([*sorted(ENGINE.spellings), "1", "x", "{}", "-sc.a=1"]) | st.text(max_size=5)))
@properties(200)
def test_any_arguments_have_effects(args):
    """No list of words raises, and reading the plain form again gives the same effects."""
    assert {value in set(Effect) for value in effect(*args)} <= {True}
