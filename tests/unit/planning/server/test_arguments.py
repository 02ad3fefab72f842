"""Command line and environment of a server, and the check of what a user adds, against the pinned vLLM's own options.

Does not prove that the image accepts them; the stack tests ask vLLM's own parser, the local tier the real server.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.capacity.budget import Parallelism
from planning.plan.weights import Source
from planning.server.arguments import check_args, server_args
from planning.server.environment import check_env, server_env
from tests.unit.small_stack import A10, CATALOG, CPU, H100, properties, refusals, server, serving

ENGINE = CATALOG.vllm
OFFLINE = "the server has no internet; the download reads its token from a Secret"
SEED = "vLLM 0.33.0 has no option --sede; did you mean '--seed'?"


def said(*args: str) -> list[str]:
    """What is wrong with further arguments of a model."""
    return [str(problem) for problem in check_args(args, ENGINE, "args")]


# --- what the plan writes ---------------------------------------------------------------------------------------------


def test_the_command_line_of_qwen3_14b_is_exact():
    """Everything the plan decides is written out, so that a default that moves changes nothing."""
    assert server(serving()).args == (
        "/models/Qwen--Qwen3-14B/40c069824f4251a91eefaf281ebe4c544efd3e18",
        "--served-model-name=m",
        "--host=0.0.0.0",
        "--port=8000",
        "--max-model-len=32768",
        "--max-num-seqs=256",
        "--load-format=safetensors",
        "--shutdown-timeout=410",
        "--gpu-memory-utilization=0.92",
        "--tensor-parallel-size=2",
        "--enable-prefix-caching",
        "--reasoning-parser=qwen3",
        "--enable-auto-tool-choice",
        "--tool-call-parser=hermes",
    )


@pytest.mark.parametrize(
    ("raw", "written", "absent"),
    [
        (
            serving(H100, model="Qwen/Qwen3-235B-A22B-FP8", tensorParallel=8, expertParallel=True, kvCacheDtype="fp8"),
            {"--tensor-parallel-size=8", "--enable-expert-parallel", "--kv-cache-dtype=fp8"},
            {"--pipeline-parallel-size=1", "--data-parallel-size=1"},
        ),
        (
            serving({**A10, "gpusPerNode": 4}, tensorParallel=2, pipelineParallel=2, maxNumBatchedTokens=4096),
            {"--tensor-parallel-size=2", "--pipeline-parallel-size=2", "--max-num-batched-tokens=4096"},
            {"--enable-expert-parallel"},
        ),
        (
            serving(H100, model="Qwen/Qwen3-8B", dataParallel=4),
            {"--data-parallel-size=4", "--tensor-parallel-size=1"},
            {"--pipeline-parallel-size=1"},
        ),
        # a hybrid keeps one state per sequence only without prefix caching
        (
            serving(H100, model="Qwen/Qwen3.5-27B", maxNumSeqs=64),
            {"--no-enable-prefix-caching", "--reasoning-parser=qwen3", "--tool-call-parser=qwen3_coder"},
            {"--enable-prefix-caching"},
        ),
        # a CPU has no memory share, and says its type
        (
            serving(CPU, model="Qwen/Qwen3-8B-AWQ", contextTokens=8192),
            {"--dtype=bfloat16", "--max-num-seqs=16", "--max-model-len=8192"},
            {"--tensor-parallel-size=1", "--gpu-memory-utilization=0.9", "--gpu-memory-utilization=0.92"},
        ),
        # a parser of the user's takes the place of the model's
        (
            serving(args=["--reasoning-parser=deepseek_r1", "--tool-call-parser", "mistral"]),
            {"--reasoning-parser=deepseek_r1", "--tool-call-parser", "mistral"},
            {"--reasoning-parser=qwen3", "--tool-call-parser=hermes", "--enable-auto-tool-choice"},
        ),
        # no parser, no option
        (
            serving(model="deepseek-ai/DeepSeek-R1-Distill-Qwen-14B"),
            {"--reasoning-parser=deepseek_r1"},
            {"--enable-auto-tool-choice"},
        ),
    ],
)
def test_what_is_wanted_is_written(raw, written, absent):
    """Each setting becomes its option, and what is 1 or not wanted is left to the engine."""
    args = set(server(raw).args)
    assert (written - args, absent & args) == (set(), set())


def test_arguments_of_the_user_come_last():
    """The parser takes the last of two, so the user's word holds where it is allowed to."""
    assert server(serving(args=["--seed", "7", "--enforce-eager"])).args[-3:] == ("--seed", "7", "--enforce-eager")


@pytest.mark.parametrize("name", [name for name, model in CATALOG.models.items() if model.architecture])
def test_every_model_gets_options_that_exist(name):
    """What the plan writes for a model would pass the check of what a user writes, but for what the plan decides."""
    args = server_args(
        CATALOG.models[name],
        for_task=ENGINE.tasks[CATALOG.models[name].task],
        source=Source(
            argument="/models/x", directory="/models/x", load_format="safetensors", read_mib_per_s=500, prewarm=True
        ),
        served_name="m",
        parallelism=Parallelism(2, 2, 2, expert=True),
        context_tokens=4096,
        max_num_seqs=256,
        max_num_batched_tokens=8192,
        utilization=0.92,
        kv_cache_dtype="fp8",
        drain_s=60,
        port=8000,
        stream_interval=4,
        routed=True,
        extra=(),
    )
    problems = [problem.message for problem in check_args(args[1:], ENGINE, "args")]
    assert [text for text in problems if " is decided by " not in text and " must be left out" not in text] == []


def test_the_environment_is_exact():
    """No internet, writable caches, the start-up limit of the plan, and limits against abuse."""
    assert server_env(ENGINE, startup_budget_s=630, cache_root="/cache", cpu_kv_cache_gib=5) == {
        "HF_HUB_OFFLINE": "1",
        "HOME": "/cache",
        "LOGNAME": "vllm",
        "TORCHINDUCTOR_CACHE_DIR": "/cache/torchinductor",
        "TRITON_CACHE_DIR": "/cache/triton",
        "VLLM_CACHE_ROOT": "/cache/vllm",
        "VLLM_CPU_KVCACHE_SPACE": "5",
        "VLLM_ENGINE_READY_TIMEOUT_S": "630",
        "VLLM_MAX_N_SEQUENCES": "64",
        "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "XDG_CACHE_HOME": "/cache/xdg",
    }
    assert "VLLM_CPU_KVCACHE_SPACE" not in server_env(ENGINE, startup_budget_s=1, cache_root="/", cpu_kv_cache_gib=None)


def test_the_engine_waits_as_long_as_its_probe():
    """VLLM's own limit for starting is the start-up budget, or it would give up before the probe does."""
    found = server(serving(env={"VLLM_LOGGING_LEVEL": "DEBUG"}))
    assert found.env["VLLM_ENGINE_READY_TIMEOUT_S"] == str(found.timing.startup_budget_s)
    assert found.env["VLLM_LOGGING_LEVEL"] == "DEBUG"


# --- what a user may add ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("--seed=1",),
        ("--seed", "1"),
        ("--seed", "-1"),
        ("--seed=-1",),
        ("--enforce-eager",),
        ("--no-enforce-eager",),
        ("--disable-log-requests",),
        # spellings the parser accepts without showing them
        ("--no-enable-prefix-caching",),
        ("--disable_log_stats",),
        ("-O3",),
        ("-O", "2"),
        ("-O=1",),
        ("--dtype", "half", "--trust-remote-code"),
        ("--hf-overrides", '{"rope_parameters":{}}'),
        ("--hf-overrides={}",),
        ("--hf-overrides.rope_parameters.factor", "4"),
        ("--eplb-config.window_size=1000",),
        ("--kv-transfer-config", '{"kv_connector":"OffloadingConnector","kv_role":"kv_both"}'),
        ("--kv-cache-memory-bytes", "4G"),
        ("--kv-cache-memory-bytes=4294967296",),
        ("--middleware", "a.b", "--middleware", "c.d"),
        ("--lora-modules", "a=/x", "b=/y"),
        ("--cpu-offload-gb=1.5",),
        ("--load-format=runai_streamer",),
        ("--reasoning-parser=none",),
        ("--tool-call-parser=mine", "--tool-parser-plugin=/x.py"),
    ],
)
def test_what_vllm_takes_is_taken(args):
    """Values beside or after =, negative numbers, lists, parts of JSON options, hidden and short spellings."""
    assert said(*args) == []


@pytest.mark.parametrize(
    ("args", "problems"),
    [
        # names
        (("--sede=1",), [f"args[0]: {SEED}"]),
        (("--sede", "1", "--seed=2"), [f"args[0]: {SEED}"]),
        (("--Seed=1",), ["args[0]: vLLM 0.33.0 has no option --Seed; did you mean '--seed'?"]),
        (("--seed.x=1",), ["args[0]: vLLM 0.33.0 has no option --seed.x; did you mean '--seed'?"]),
        (("-",), ["args[0]: vLLM 0.33.0 has no option -; did you mean '-r'?"]),
        (
            ("--swap-space=4",),
            [
                ("args[0]: --swap-space was removed from vLLM 0.33.0: no CPU swap of KV blocks any more; "
                "--kv-offloading-size (GiB over all TP ranks) with --kv-offloading-backend"),
            ],
        ),
        (
            ("--rope-scaling", "{}"),
            [
                ("args[0]: --rope-scaling was removed from vLLM 0.33.0: --hf-overrides with rope_parameters, and "
                "max_position_embeddings when the context grows"),
            ],
        ),
        # the plan's own
        (("--max-model-len=3",), ["args[0]: --max-model-len is decided by contextTokens"]),
        (("--max_model_len", "3"), ["args[0]: --max_model_len is decided by contextTokens"]),
        (("-tp", "2"), ["args[0]: -tp is decided by tensorParallel"]),
        (("--port=9",), ["args[0]: --port must be left out: the port is fixed"]),
        (("--api-key", "sk-1", "sk-2"), ["args[0]: --api-key must be left out: the key comes from a Secret"]),
        (
            ("--hf-token=hf_x",),
            [f"args[0]: --hf-token must be left out: {OFFLINE}"],
        ),
        # values
        (("--seed",), ["args[0]: --seed needs a value; write --seed=VALUE"]),
        (("--seed=",), ["args[0]: --seed needs a value; write --seed=VALUE"]),
        (("--seed", "--enforce-eager"), ["args[0]: --seed needs a value; write --seed=VALUE"]),
        (("--seed=x",), ["args[0]: --seed x: must be a whole number"]),
        (("--seed", "1.5"), ["args[0]: --seed 1.5: must be a whole number"]),
        (("--cpu-offload-gb=much",), ["args[0]: --cpu-offload-gb much: must be a number"]),
        (
            ("--kv-cache-memory-bytes=4GiB",),
            ["args[0]: --kv-cache-memory-bytes 4GiB: must be a whole number, such as 4000, 4k (4,000) or 4K (4,096)"],
        ),
        (("--eplb-config={bad",), ["args[0]: --eplb-config {bad: must be JSON"]),
        # JSON that a class reads may have sizes, a word for a class, and parts under two spellings, each read by itself
        (('--eplb-config={"window_size": 1.5k, "step_interval": 2K}',), []),
        (('--eplb-config={"window_size": 1.5K}',), ['args[0]: --eplb-config {"window_size": 1.5K}: must be JSON']),
        (("--eplb-config.window_size=1k",), []),
        (("--eplb-config.window_size=1.5K",), ['args[0]: --eplb-config.window_size "1.5K" must be a whole number']),
        (('--override-generation-config={"top_k": 1k}',), [
            'args[0]: --override-generation-config {"top_k": 1k}: must be JSON'
        ]),
        (('--quantization-config={"linear": "fp8_per_tensor"}',), []),
        (("--quantization-config.moe=int8_per_channel_weight_only",), []),
        (("--compilation-config.max_cudagraph_capture_size=8", "-cc.cudagraph_mod=1"), [
            "args[1]: -cc.cudagraph_mod is no key that vLLM knows; did you mean 'cudagraph_mode'?"
        ]),
        (("-cc.cudagraph_mod=1", "--compilation-config.max_cudagraph_capture_size=8"), [
            "args[0]: -cc.cudagraph_mod is no key that vLLM knows; did you mean 'cudagraph_mode'?"
        ]),
        (
            ("--dtype=int3",),
            ["args[0]: --dtype int3: not one of auto, bfloat16, float, float16, float32, half"],
        ),
        (
            ("--load-format=safetensor",),
            ["args[0]: --load-format safetensor: vLLM 0.33.0 has none of that name; did you mean 'safetensors'?"],
        ),
        (
            ("--reasoning-parser", "deepseek-r1"),
            ["args[0]: --reasoning-parser deepseek-r1: vLLM 0.33.0 has none of that name; did you mean 'deepseek_r1'?"],
        ),
        (
            ("--tool-call-parser=hermess",),
            ["args[0]: --tool-call-parser hermess: vLLM 0.33.0 has none of that name; did you mean 'hermes'?"],
        ),
        (("--enforce-eager=true",), ["args[0]: --enforce-eager takes no value"]),
        # words that belong to nothing
        (("--enforce-eager", "true"), ['args[1]: "true" is not an option and belongs to none']),
        (("seed=1",), ['args[0]: "seed=1" is not an option and belongs to none']),
        (("",), ['args[0]: "" is not an option and belongs to none']),
        (("--seed=1", "2"), ['args[1]: "2" is not an option and belongs to none']),
        (("--seed", "1", "2"), ['args[2]: "2" is not an option and belongs to none']),
        # all at once
        (
            ("--sede", "1", "--dtype=x", "--port=1"),
            [
                f"args[0]: {SEED}",
                "args[2]: --dtype x: not one of auto, bfloat16, float, float16, float32, half",
                "args[3]: --port must be left out: the port is fixed",
            ],
        ),
    ],
)  # fmt: skip
def test_what_vllm_refuses_is_refused(args, problems):
    """Unknown, removed and managed options, wrong and missing values, each at its place."""
    assert said(*args) == problems


def test_arguments_of_a_model_are_checked_with_its_path():
    """Together with what does not fit, and those of a canary at their own place."""
    canary = {"weight": 10, "args": ["--seed=1", "--sede=2"]}
    assert [text[:28] for text in refusals(serving(args=["--sede=1"], tensorParallel=1, canary=canary))] == [
        "models.m: needs 27.5 GiB of ",
        "models.m.args[0]: vLLM 0.33.",
        "models.m.canary.args[1]: vLL",
    ]


@given(st.lists(st.sampled_from([*sorted(ENGINE.options), "-tp", "1", "x", "--", "{}", "-1"]) | st.text(max_size=5)))
@properties(200)
def test_any_arguments_are_answered(args):
    """No list of words raises; every problem names a position of the list."""
    places = {f"args[{position}]" for position in range(len(args))}
    assert {problem.path for problem in check_args(args, ENGINE, "args")} <= places


# --- environment ------------------------------------------------------------------------------------------------------

NAMED = "$(VLLM_API_KEY) would be replaced by a secret; leave it out, or write $$(VLLM_API_KEY) for that very text"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(VLLM_API_KEY)", [NAMED]),
        ("a $(POD_IP) and $(VLLM_API_KEY)", [NAMED]),
        ("$$$(VLLM_API_KEY)", [NAMED]),
        ("$$(VLLM_API_KEY)", []),
        ("$(POD_IP)", []),
        ("$VLLM_API_KEY", []),
    ],
)
def test_no_argument_or_variable_takes_the_value_of_a_secret(text: str, expected: list[str]):
    """Kubernetes would put the key itself where a command line and `kubectl describe` show it."""
    named = [problem.message for problem in check_args([f"--chat-template={text}"], ENGINE, "args")]
    assert (named, [problem.message for problem in check_env({"NOTE": text}, {}, ENGINE, "env")]) == (
        expected,
        expected,
    )


SECRET = "looks like a secret; secrets never go into the environment here"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("HOME", "is decided by the plan"),
        ("VLLM_CACHE_ROOT", "is decided by the plan"),
        ("HF_TOKEN", SECRET),
        ("HFTOKEN", SECRET),
        ("VLLM_API_KEY", SECRET),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("MY_APIKEY", SECRET),
        ("db_password", SECRET),
        ("MY_PASSWD", SECRET),
        ("GOOGLE_CREDENTIALS", SECRET),
        ("VLLM_HOST_IP", "must be left out: every pod has an address of its own"),
        ("VLLM_SERVER_DEV_MODE", "opens administrative endpoints; it is never set in production"),
        ("", '"" is not the name of an environment variable'),
        ("A B", '"A B" is not the name of an environment variable'),
        ("A=B", '"A=B" is not the name of an environment variable'),
        ("1A", '"1A" is not the name of an environment variable'),
    ],
)
def test_variables_that_may_not_be_set_are_refused(name, message):
    """What plan or pod decides, what looks like a secret, what opens a door, and what is no name."""
    managed = server_env(ENGINE, startup_budget_s=1, cache_root="/cache", cpu_kv_cache_gib=None)
    assert [str(problem) for problem in check_env({name: "x"}, managed, ENGINE, "env")] == [f"env.{name}: {message}"]


@pytest.mark.parametrize(
    "name", ["TOKENIZERS_PARALLELISM", "VLLM_LOGGING_LEVEL", "NCCL_IB_HCA", "MONKEY", "MAX_TOKENS"]
)
def test_other_variables_are_taken(name):
    """A name that only contains a telling syllable is not a secret."""
    assert check_env({name: "x"}, {}, ENGINE, "env") == []


def test_variables_are_checked_together_with_everything_else():
    """A secret in the environment is said beside a model that does not fit, and once only where there is a canary."""
    raw = serving(env={"HF_TOKEN": "x"}, tensorParallel=1, canary={"weight": 10, "maxNumSeqs": 8})
    assert [text.partition(":")[0] for text in refusals(raw)] == ["models.m", "models.m.env.HF_TOKEN"]
