"""`python -m planning calibrate`: start-up logs of vLLM are read, compared, and turned into a `measured:` block.

The logs below were written by hand in the formats of the named versions (their strings are in vLLM's sources), some
with figures that were published; none was copied from a run of this project. Does not prove that a later vLLM keeps
the lines.
"""

from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml

from catalog import load_catalog
from planning.__main__ import main
from planning.questions.calibrate import Given, compare
from planning.questions.comparison_text import as_text
from planning.questions.startup_log import read
from settings import Refused
from settings.schema import MeasuredSettings

CATALOG = load_catalog()

V033 = """\
(APIServer pid=1) INFO 11-20 09:12:01 [utils.py:301]  ▄▄ ▄█ █     █     █ ▀▄▀ █  version 0.33.0
(APIServer pid=1) INFO 11-20 09:12:01 [startup.py:96] non-default args: \
{'model_tag': '/models/Qwen--Qwen3-32B/9216db57', 'host': '0.0.0.0', \
'model': '/models/Qwen--Qwen3-32B/9216db57', 'max_model_len': 40960, 'served_model_name': ['q'], \
'tensor_parallel_size': 2, 'gpu_memory_utilization': 0.92, 'max_num_seqs': 256}
(EngineCore pid=77) INFO 11-20 09:12:20 [core.py:139] Initializing a V1 LLM engine (v0.33.0) with config: \
model='/models/Qwen--Qwen3-32B/9216db57', speculative_config=None, dtype=torch.bfloat16, max_seq_len=40960, \
tensor_parallel_size=2, pipeline_parallel_size=1, data_parallel_size=1, enforce_eager=False, kv_cache_dtype=auto
(Worker_TP0 pid=90) INFO 11-20 09:12:31 [default_loader.py:507] Loading weights took 9.10 seconds
(Worker_TP0 pid=90) INFO 11-20 09:12:32 [model_runner.py:429] Model loading took 30.59 GiB memory and 10.021334 seconds
(Worker_TP1 pid=91) INFO 11-20 09:12:32 [model_runner.py:429] Model loading took 30.58 GiB memory and 10.120000 seconds
(Worker_TP0 pid=90) INFO 11-20 09:12:50 [monitor.py:60] torch.compile took 27.20 s in total
(Worker_TP0 pid=90) INFO 11-20 09:13:01 [gpu_worker.py:773] Available KV cache memory: 38.15 GiB
(Worker_TP1 pid=91) INFO 11-20 09:13:01 [gpu_worker.py:773] Available KV cache memory: 38.02 GiB
(EngineCore pid=77) INFO 11-20 09:13:01 [kv_cache_utils.py:1148] GPU KV cache size: 311,456 tokens, \
Maximum concurrency for 40,960 tokens per request: 7.60x
(Worker_TP0 pid=90) INFO 11-20 09:13:09 [model_runner.py:1164] Graph capturing finished in 7 secs, took 0.90 GiB
(Worker_TP0 pid=90) INFO 11-20 09:13:09 [gpu_worker.py:1003] CUDA graph pool memory: 0.9 GiB (actual), 0.85 GiB \
(estimated), difference: 0.05 GiB (5.6%).
(Worker_TP0 pid=90) INFO 11-20 09:13:09 [gpu_worker.py:1044] Free memory on device (78.6/79.19 GiB) on startup. \
Desired GPU memory utilization is (0.92, 72.85 GiB). Actual usage is 31.64 GiB for consumed memory \
(weights + non-torch), 3.06 GiB for peak activation, and 0.9 GiB for CUDAGraph memory. \
Current kv cache memory in use is 38.15 GiB.
(EngineCore pid=77) INFO 11-20 09:13:10 [core.py:406] init engine (profile, create kv cache, warmup model) took 37.90 s
(APIServer pid=1) INFO 11-20 10:00:00 [x.py:1] torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB
"""
# Qwen3-8B on one H100: 50.32 GiB, 366,400 tokens, 8.95x were published for it.
V011 = """\
INFO 10-06 12:00:00 [api_server.py:1839] vLLM API server version 0.11.0
INFO 10-06 12:00:00 [utils.py:233] non-default args: {'model': 'Qwen/Qwen3-8B', 'gpu_memory_utilization': 0.9}
\x1b[1;36m(EngineCore_DP0 pid=9)\x1b[0;0m INFO 10-06 12:00:09 [core.py:77] Initializing a V1 LLM engine (v0.11.0) with \
config: model='Qwen/Qwen3-8B', max_seq_len=40960, tensor_parallel_size=1, kv_cache_dtype=auto
INFO 10-06 12:00:20 [gpu_model_runner.py:2653] Model loading took 15.2683 GiB and 4.100000 seconds
WARNING 10-06 12:00:21 [fused_moe.py:798] Config file not found at E=1,N=2,device_name=NVIDIA_H100_80GB_HBM3.json
INFO 10-06 12:00:30 [monitor.py:34] torch.compile takes 20.11 s in total
INFO 10-06 12:00:40 [gpu_worker.py:298] Available KV cache memory: 50.32 GiB
INFO 10-06 12:00:41 [kv_cache_utils.py:1087] GPU KV cache size: 366,400 tokens
INFO 10-06 12:00:41 [kv_cache_utils.py:1091] Maximum concurrency for 40,960 tokens per request: 8.95x
INFO 10-06 12:00:49 [gpu_model_runner.py:3480] Graph capturing finished in 8 secs, took 0.60 GiB
"""
# Qwen3.8-27B-FP8 on one L40S: 8.18 GiB needed, 7.04 there, 112,896 tokens at most were published for it.
REFUSING = """\
INFO 07-02 08:00:00 [utils.py:278] non-default args: {'model': 'Qwen/Qwen3.8-27B-FP8', 'max_model_len': 131072, \
'gpu_memory_utilization': 0.86, 'max_num_seqs': 16}
INFO 07-02 08:00:01 [core.py:97] Initializing a V1 LLM engine (v0.26.0) with config: model='Qwen/Qwen3.8-27B-FP8', x=1
INFO 07-02 08:01:00 [gpu_model_runner.py:4000] Model loading took 28.51 GiB memory and 60.000000 seconds
INFO 07-02 08:01:30 [gpu_worker.py:400] Available KV cache memory: 7.04 GiB
(EngineCore pid=5) ValueError: To serve at least one request with the model's max seq len (131072), (8.18 GiB \
KV cache is needed, which is larger than the available KV cache memory (7.04 GiB). Based on the available memory, the \
estimated maximum model length is 112896. Try increasing `gpu_memory_utilization` or decreasing `max_model_len`.
"""


def calibrate(tmp_path: Path, text: str, *words: str) -> int:
    """Runs the command on a file of this text."""
    file = tmp_path / "vllm.log"
    file.write_text(text, encoding="utf-8")
    return main(["calibrate", "--log", str(file), *words])


def figures(text: str) -> dict[str, float]:
    """The figures of a log."""
    return read(text.splitlines()).figures


def test_a_log_of_033_is_read_whole():
    """Every figure; of several ranks the fullest weights and the least KV cache."""
    log = read(V033.splitlines())
    assert (log.version, log.complete, log.failure) == ("0.33.0", True, None)
    assert log.figures == {
        "weights_gib": 30.59,
        "load_s": 10.12,
        "read_s": 9.1,
        "kv_gib": 38.02,
        "visible_gib": 79.19,
        "utilization": 0.92,
        "consumed_gib": 31.64,
        "activation_gib": 3.06,
        "graphs_gib": 0.9,
        "estimated_graphs_gib": 0.85,
        "graphs_s": 7.0,
        "kv_tokens": 311_456.0,
        "context_tokens": 40_960.0,
        "max_concurrency": 7.6,
        "compile_s": 27.2,
        "init_s": 37.9,
        "start_s": 69.0,
    }
    assert {name: log.options[name] for name in ("model", "tensor_parallel_size", "max_num_seqs")} == {
        "model": "/models/Qwen--Qwen3-32B/9216db57",
        "tensor_parallel_size": "2",
        "max_num_seqs": "256",
    }


def test_a_log_of_011_is_read_whole():
    """Two lines where there is one now, colours, and the GPU by the name of a tuning file."""
    log = read(V011.splitlines())
    assert (log.version, log.device) == ("0.11.0", "NVIDIA-H100-80GB-HBM3")
    assert [log.figures[name] for name in ("weights_gib", "kv_gib", "kv_tokens", "max_concurrency", "compile_s")] == [
        15.2683,
        50.32,
        366_400,
        8.95,
        20.11,
    ]


@pytest.mark.parametrize(
    ("line", "figure", "value"),
    [
        ("Loading model weights took 67.7229 GB", "weights_gib", 67.7229),
        ("Available KV cache memory: -1.44 GiB", "kv_gib", -1.44),
        (
            "GPU + host KV cache size: 1,000 tokens, Maximum concurrency for 500 tokens per request: 2.00x",
            "kv_tokens",
            1000,
        ),
        ("Auto-fit max_model_len: reduced from 131072 to 65536 to fit in memory", "fitted_context", 65_536),
        ("Auto-fit max_model_len: full model context length 40960 fits in available", "fitted_context", 40_960),
        ("Estimated CUDA graph memory: 0.31 GiB total", "estimated_graphs_gib", 0.31),
        ("Memory profiling takes 12.34 seconds. Total non KV cache memory: 1.0GiB", "profile_s", 12.34),
        ("torch peak memory increase: 1.41GiB; non-torch forward increase memory: 0.13GiB", "non_torch_gib", 0.13),
        ("with the models's max seq len (40960), (5.62 GiB KV cache is needed, which", "needed_gib", 5.62),
        ("Free memory on device cuda:0 (21.5/22.03 GiB) on startup is less than desired", "visible_gib", 22.03),
        ("GPU 0 has a total capacity of 79.10 GiB of which 1.0 GiB is free: memory", "visible_gib", 79.1),
        ("Chunked prefill is enabled with max_num_batched_tokens=8192.", "batched_tokens", 8192),
    ],
)
def test_single_lines(line: str, figure: str, value: float):
    """Spellings of other versions and situations."""
    assert figures(f"INFO 01-01 00:00:00 [x.py:1] {line}")[figure] == value


def test_options_of_a_namespace_and_of_the_engine_are_read():
    """Older versions print a Namespace; an engine's line alone says model, context and sizes."""
    old = read(
        ["INFO [api_server.py:1044] args: Namespace(model='Qwen/Qwen3-8B', tensor_parallel_size=2, max_num_seqs=64)"]
    )
    assert old.options == {"model": "Qwen/Qwen3-8B", "tensor_parallel_size": "2", "max_num_seqs": "64"}
    engine = read([("Initializing a V1 LLM engine (v0.20.1) with config: model='Qwen/Qwen3-8B', max_seq_len=8192, "
                   "served_model_name=x, tensor_parallel_size=4, kv_cache_dtype=fp8, enforce_eager=True")])  # fmt: skip
    assert (engine.version, engine.complete) == ("0.20.1", False)
    assert engine.options == {
        "model": "Qwen/Qwen3-8B",
        "max_model_len": "8192",
        "tensor_parallel_size": "4",
        "kv_cache_dtype": "fp8",
        "enforce_eager": "True",
    }


def test_the_last_start_of_a_file_counts():
    """A server that was restarted with other arguments is not mixed with the first."""
    log = read((V011 + REFUSING).splitlines())
    assert log.options["model"] == "Qwen/Qwen3.8-27B-FP8"
    assert "kv_tokens" not in log.figures


def test_the_comparison_is_a_table_and_a_block(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Model, GPU, spread and flags come from the log where it says them; what is printed can be pasted."""
    assert calibrate(tmp_path, V033, "--gpu", "nvidia-h100") == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert lines[0] == "Qwen/Qwen3-32B on 2 × NVIDIA H100 SXM 80 GB, TP 2, vLLM 0.33.0"
    assert lines[1].startswith("  40,960 tokens, max_num_seqs 256, max_num_batched_tokens ")
    assert lines[3].split() == ["per", "GPU", "predicted", "logged", "logged", "−", "predicted"]
    table = {line[2:26].strip(): line[26:].split("  ") for line in lines[4:] if line.startswith("  ")}
    assert [cell.strip() for cell in table["visible memory"] if cell.strip()] == [
        "79.10 GiB",
        "79.19 GiB",
        "+0.09 (+0.1%)",
    ]
    assert [cell.strip() for cell in table["compiling"] if cell.strip()] == [
        "240.00 s",
        "27.20 s",
        "-212.80 (-88.7%)",
    ]
    assert table["engine, beside those two"][-1].strip() == "-28.32 (-47.2%)"
    assert {"weights", "weights, NCCL, context", "activation, CUDA graphs", "KV cache", "KV cache tokens"} <= set(table)
    block = yaml.safe_load(text[text.index("maxNumSeqs:") :])
    assert block == {
        "maxNumSeqs": 256,
        "measured": {
            "weightsGibPerGpu": 30.59,
            "kvTokens": 311_456,
            "gpus": 2,
            "tensorParallel": 2,
            "contextTokens": 40_960,
            "maxConcurrency": 7.6,
            "kvGibPerGpu": 38.02,
            "gpuMemoryUtilization": 0.92,
            "vllm": "0.33.0",
            "start": {"loadS": 11, "compileS": 28, "engineS": 32},
        },
    }
    assert MeasuredSettings.model_validate(block["measured"]).kv_tokens == 311_456


def test_a_start_that_found_a_kept_cache_says_nothing_of_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Its compile time is that of every other start: it is compared with that, and goes under a key of its own."""
    found = (
        "(Worker_TP0 pid=90) INFO 11-20 09:12:40 [decorators.py:320] Directly load AOT compilation from path /cache/x\n"
    )
    before, line, after = V033.partition("(Worker_TP0 pid=90) INFO 11-20 09:12:50")
    text = f"{before}{found}{line}{after}".replace("took 27.20 s in total", "took 4.05 s in total")
    assert calibrate(tmp_path, text, "--gpu", "nvidia-h100") == 0
    said = capsys.readouterr().out
    (row,) = [one.split() for one in said.splitlines() if one.startswith("  compiling, kept before")]
    assert row[3:] == ["20.00", "s", "4.05", "s", "-15.95", "(-79.8%)"]
    assert "  start: {loadS: 11, compileAgainS: 5, engineS: 55}" in said.splitlines()


@pytest.mark.parametrize(
    ("began", "ready", "engine_s"),
    [
        ("12-31 23:59:50", "01-01 00:00:50", 60 - 20),
        ("02-29 23:59:59", "03-01 00:00:59", 60 - 20),
        ("99-99 99:99:99", "01-01 00:00:50", 40 - 10),
        ("", "", 40 - 10),
    ],
)
def test_what_a_start_took_beside_loading_and_compiling(began: str, ready: str, engine_s: float):
    """By the times of its lines, over the turn of a year; without them by what the engine says of itself."""
    lines = [
        f"INFO {began} [x.py:1] non-default args: {{'model': 'm'}}",
        "INFO [x.py:1] Model loading took 1 GiB memory and 10.0 seconds",
        "INFO [x.py:1] torch.compile took 10.0 s in total",
        f"INFO {ready} [x.py:1] init engine (profile, create kv cache, warmup model) took 40.00 s (compilation: 10 s)",
    ]
    assert read(lines).engine_s == engine_s


def test_a_published_log_is_predicted(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The GPU is named in the log; weights agree within one percent."""
    assert calibrate(tmp_path, V011) == 0
    assert capsys.readouterr().out.startswith("Qwen/Qwen3-8B on 1 × NVIDIA H100 SXM 80 GB, TP 1, vLLM 0.11.0\n")
    found = compare(read(V011.splitlines()), Given(), CATALOG)
    weights = next(line for line in found.lines if line.name == "weights")
    assert weights.predicted == pytest.approx(weights.logged, rel=0.01)
    assert (found.workload.utilization, found.workload.max_num_seqs) == (0.9, 1024)


def test_the_dtype_of_a_log_is_counted():
    """A start in float32 is compared with weights of 4 bytes; the engine's line says the dtype that auto became."""
    wide = V033.replace("dtype=torch.bfloat16", "dtype=torch.float32")
    found = [compare(read(text.splitlines()), Given(gpu="nvidia-h100"), CATALOG) for text in (V033, wide)]
    assert [item.workload.dtype for item in found] == ["bfloat16", "float32"]
    usual, doubled = (next(line.predicted for line in item.lines if line.name == "weights") for item in found)
    assert usual is not None
    assert doubled == pytest.approx(2 * usual)


def test_a_start_that_failed_is_compared_but_gives_no_block(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """What vLLM needed and had is beside what is computed; the refusal is in both columns' words."""
    assert calibrate(tmp_path, REFUSING, "--gpu", "nvidia-l40s") == 0
    text = capsys.readouterr().out
    assert "  KV cache needed " in text
    assert "  longest context " in text
    assert "112,896 tokens" in text
    assert "  logged: vLLM did not start, “To serve at least one request”" in text
    assert text.endswith("no measured: block, because the log has no line “GPU KV cache size: … tokens”\n")


def test_what_nobody_can_compute_is_still_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """For kvProfile: unknown the prediction is empty, and the block is the point; ranks are summed."""
    text = V033.replace("Qwen--Qwen3-32B", "deepseek-ai--DeepSeek-V4-Flash").replace(
        "'max_num_seqs': 256", "'max_num_seqs': 256, 'data_parallel_size': 4, 'kv_cache_dtype': 'fp8'"
    )
    assert (
        calibrate(tmp_path, text.replace("data_parallel_size=1", "data_parallel_size=4"), "--gpu", "nvidia-h200") == 0
    )
    printed = capsys.readouterr().out
    assert "DeepSeek-V4-Flash on 8 × NVIDIA H200 SXM 141 GB, TP 2 × DP 4" in printed
    block = yaml.safe_load(printed[printed.index("maxNumSeqs:") :])
    assert block["kvCacheDtype"] == "fp8"
    assert (block["measured"]["kvTokens"], block["measured"]["gpus"], block["measured"]["dataParallel"]) == (
        4 * 311_456,
        8,
        4,
    )


@pytest.mark.parametrize(
    ("words", "problems"),
    [
        (
            [],
            [("--gpu: the log does not say; give the id of a catalogue entry; 79.19 GiB were visible, as on "
             "nvidia-a100-80gb, nvidia-a100-80gb-pcie, nvidia-h100, nvidia-h100-pcie, nvidia-h800, "
             "nvidia-a800-80gb, nvidia-a800-80gb-pcie, nvidia-h800-pcie")],
        ),
        (
            ["--gpu", "nvidia-h100", "--model", "Qwen/Qwen3-14B"],
            ["--model: 'Qwen/Qwen3-14B' is not what the log says, Qwen/Qwen3-32B; leave it out"],
        ),
        (
            ["--gpu", "nvidia-h100", "--tensor-parallel", "4"],
            ["--tensor-parallel: 4 is not what the log says, 2; leave it out"],
        ),
    ],
)  # fmt: skip
def test_options_are_for_what_the_log_leaves_open(
    words: list[str], problems: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Exit 2 with a line per problem; what contradicts the log is refused."""
    assert calibrate(tmp_path, V033, *words) == 2
    assert capsys.readouterr().err.splitlines() == problems


def test_a_log_without_arguments_needs_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Everything that is missing is named at once; with it, what was assumed is said."""
    text = "\n".join(
        line for line in V011.splitlines() if "args" not in line and "engine (v" not in line and "E=" not in line
    )
    assert calibrate(tmp_path, text) == 2
    assert capsys.readouterr().err.splitlines() == [
        "--model: the log does not say which it is; give the repository id of a catalogue entry",
        "--gpu: the log does not say; give the id of a catalogue entry",
        (
            "--tensor-parallel: the log has neither arguments nor the engine's configuration; "
            "say how many GPUs shared each layer"
        ),
    ]
    assert calibrate(tmp_path, text, "--model", "Qwen/Qwen3-8B", "--gpu", "nvidia-h100", "--tensor-parallel", "1") == 0
    assert (
        "  assumed, because the log does not say: max_num_seqs 1024, max_num_batched_tokens 8192, "
        "gpu_memory_utilization 0.9, kv_cache_dtype auto\n" in capsys.readouterr().out
    )


def test_a_model_folder_the_catalogue_does_not_know(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Nothing is predicted for it, and what was measured can be pasted below the model; the option compares."""
    text = V011.replace("Qwen/Qwen3-8B", "/data/mine")
    assert calibrate(tmp_path, text, "--gpu", "nvidia-h100") == 0
    out = capsys.readouterr().out
    assert out.startswith("/data/mine on 1 × NVIDIA H100 SXM 80 GB, TP 1, vLLM 0.11.0\n")
    assert (
        "  nothing is predicted: the catalogue does not have this model; python -m catalog add makes an entry\n" in out
    )
    assert "  KV cache tokens                        –  366,400 tokens" in out
    measured = yaml.safe_load(out[out.index("measured:") :])["measured"]
    assert (measured["kvTokens"], measured["gpus"]) == (366_400, 1)
    assert MeasuredSettings.model_validate(measured).weights_gib_per_gpu == 15.2683
    assert "predicted: refused" not in out
    assert calibrate(tmp_path, text, "--model", "Qwen/Qwen3-8B") == 0
    assert "nothing is predicted" not in capsys.readouterr().out


def test_a_file_that_is_no_start_up_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Exit 2 with the lines that are looked for."""
    assert calibrate(tmp_path, "hello\n") == 2
    assert capsys.readouterr().err.splitlines()[1:] == [
        "  Model loading took … GiB",
        "  Available KV cache memory: … GiB",
        "  GPU KV cache size: … tokens",
        "  Maximum concurrency for … tokens per request: …x",
        "  To serve at least one request with the model's max seq len (…)",
        "  No available memory for the cache blocks",
    ]


def test_a_cpu_server_is_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Its KV cache was set by hand."""
    assert calibrate(tmp_path, "INFO [x.py:1] CPU KV cache size: 12,000 tokens\n") == 2
    assert capsys.readouterr().err == (
        "CPU KV cache size: this is the log of a CPU server; only GPU servers are compared\n"
    )


@pytest.mark.parametrize(
    "words", [["--log", "missing.log"], ["--log", "."], [], ["--log", "x", "--gpu", "nvidia-h1000"]]
)
def test_wrong_usage_leaves_with_64(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A file that cannot be read, none at all, and a word the catalogue does not have."""
    monkeypatch.chdir(tmp_path)
    assert main(["calibrate", *words]) == 64


@pytest.mark.parametrize("tail", ["", "\x00\xff binary", "GiB " * 5000, "non-default args: {", "LLM engine (v"])
def test_broken_logs_never_end_in_a_traceback(tail: str):
    """Cut, mixed and binary lines are passed over."""
    log = read([*V011.splitlines(), "Model loading took nan GiB", "GPU KV cache size: , tokens", tail])
    with pytest.raises(Refused) if not log.options else nullcontext():
        assert as_text(compare(log, Given(gpu="nvidia-h100"), CATALOG))
