"""`python -m preview`, end to end: the real program on the repository's stacks and on stacks written here.

Does not prove that a cluster or the engine would accept what is rendered.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from preview.__main__ import main
from preview.rendering.stackfile import PLACEHOLDER
from tests.stacks.tiny_program import TINY

ROOT = Path(__file__).parents[2]
MODEL_FIELDS = {
    "fits",
    "reasons",
    "weights_gib_per_gpu",
    "activation_gib_per_gpu",
    "kv_cache_gib_per_gpu",
    "kv_cache_tokens",
    "max_concurrency",
    "max_context_tokens",
    "context_tokens",
    "tensor_parallel",
    "pipeline_parallel",
    "data_parallel",
    "gpus",
    "pool",
    "usd_per_hour",
}
ONE = "cluster: {context: test, identifier: test-1}"
STACK = """
config:
  llm-stack:cluster: {context: test, identifier: test-1}
  llm-stack:gpuPools: {l4: {gpu: nvidia-l4, nodes: 2, gpusPerNode: 1, pricePerNodeHourUsd: 0.8}}
  llm-stack:weights: {storageClass: rwx}
  llm-stack:models: {small: {model: Qwen/Qwen3-0.6B, pool: l4, contextTokens: 8192}}
  llm-stack:gateway: {existingSecret: llm-keys}
"""
OWN_KEY = STACK.replace("{existingSecret: llm-keys}", "{}") + "  llm-stack:gatewayMasterKey: {secure: v1:abc:def}\n"


def preview(capsys, *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one command line."""
    code = main([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


@pytest.fixture
def project(tmp_path):
    """A function that makes a project of the real program with these stack files (name → text)."""

    def make(**stacks: str) -> Path:
        directory = tmp_path / "project"
        directory.mkdir(exist_ok=True)
        described = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
        described["main"] = os.path.relpath(ROOT, directory)
        (directory / "Pulumi.yaml").write_text(yaml.safe_dump(described))
        for number, (name, text) in enumerate(stacks.items()):
            # each is of a cluster of its own, unless its text says which
            own = f"cluster: {{context: {name}, identifier: {name}-1}}" if number else ONE
            (directory / f"Pulumi.{name}.yaml").write_text(text.replace(ONE, own))
        return directory

    return make


@pytest.fixture
def tiny(tmp_path):
    """A function that makes a project of the tiny program with these stack files (name → text)."""

    def make(**stacks: str) -> Path:
        (tmp_path / "Pulumi.yaml").write_text("name: tiny\nruntime: python\n")
        (tmp_path / "__main__.py").write_text(TINY)
        for name, text in stacks.items():
            (tmp_path / f"Pulumi.{name}.yaml").write_text(text)
        return tmp_path

    return make


@pytest.mark.parametrize("stack", ["dev", "local", "prod"])
def test_json_of_a_stack(capsys, stack):
    """`--json` is one document with the figures of every model and every object of the stack."""
    code, output, errors = preview(capsys, "--project", ROOT, "--stack", stack, "--json")
    document = json.loads(output)
    configured = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())["config"]["llm-stack:models"]
    assert (code, errors, document["stack"], document["refused"]) == (0, "", stack, [])
    assert document["models"].keys() == configured.keys()
    for model in document["models"].values():
        assert model.keys() >= MODEL_FIELDS
        assert (model["fits"], model["reasons"]) == (True, [])
    for entry in document["objects"]:
        assert entry.keys() >= {"apiVersion", "kind", "namespace", "name", "component"}
    deployments = {e["name"]: e["component"] for e in document["objects"] if e["kind"] == "Deployment"}
    assert deployments["litellm"] == "LlmGateway/gateway"
    assert "Release" not in {entry["kind"] for entry in document["objects"]}


def test_all_stacks_without_a_name(capsys, project):
    """Without `--stack` every stack of the project is previewed."""
    code, output, _ = preview(capsys, "--project", project(one=STACK, two=STACK), "--json")
    assert (code, [document["stack"] for document in json.loads(output)["stacks"]]) == (0, ["one", "two"])


def test_files_are_those_of_the_document(capsys, project, tmp_path):
    """`--out` writes one YAML file per object, patch and release, named as the document says."""
    out = tmp_path / "out"
    directory = project(one=STACK)
    _, output, _ = preview(capsys, "--project", directory, "--stack", "one", "--json", "--out", out)
    document = json.loads(output)
    entries = document["objects"] + document["patches"]
    written = {path.name: yaml.safe_load(path.read_text()) for path in out.iterdir()}
    assert written.keys() == {entry["file"] for entry in entries + document["releases"]}
    for entry in entries:
        body = written[entry["file"]]
        found = (body["apiVersion"], body["kind"], body["metadata"].get("namespace"), body["metadata"]["name"])
        assert found == (entry["apiVersion"], entry["kind"], entry["namespace"], entry["name"])
    deployment = written["deployment-llm-serving-vllm-small.yaml"]
    assert deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_all_stacks_are_written_to_folders_of_their_own(capsys, tiny, tmp_path):
    """With several stacks, each has its folder below `--out`, and files of a former run are gone."""
    out = tmp_path / "out"
    preview(capsys, "--project", tiny(a="config: {claims: {x: 1Gi}}", b="config: {claims: {y: 1Gi}}"), "--out", out)
    code, output, _ = preview(capsys, "--project", tiny(a="config: {claims: {z: 1Gi}}"), "--out", out)
    files = sorted(str(path.relative_to(out)) for path in out.glob("*/*"))
    claim = "persistentvolumeclaim-here-"
    assert (code, files) == (0, [f"a/{claim}z.yaml", f"b/{claim}y.yaml"])
    assert output.endswith(f"1 YAML file in {out / 'b'}\n")


def test_a_folder_with_other_things_is_left_alone(capsys, tiny, tmp_path):
    """`--out` never deletes what a preview has not written."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    code, output, errors = preview(capsys, "--project", tiny(a=""), "--stack", "a", "--out", out)
    message = f"python -m preview: --out {out} holds notes.txt, which no preview wrote; choose an empty directory\n"
    assert (code, output, errors, (out / "notes.txt").read_text()) == (64, "", message, "mine")


def test_the_report_is_for_reading(capsys, project):
    """Without a terminal the report is plain, 100 columns wide at most and without padding."""
    _, output, errors = preview(capsys, "--project", project(one=STACK), "--stack", "one")
    lines = output.splitlines()
    assert errors == ""
    assert [line for line in lines if len(line) > 100 or line != line.rstrip() or "\x1b" in line] == []
    assert lines[0].startswith("llm-stack · one ═══")
    assert "small  Qwen/Qwen3-0.6B ─" in output
    assert "runs on     1 × NVIDIA L4 24 GB of pool l4, TP 1, vLLM" in output
    assert "replicas    1, fixed" in output
    assert "cost        $0.80/h per replica" in output
    assert "VllmServer vllm-small\n" in output
    assert "• Secret llm-keys in llm-serving\n  kubectl create secret generic llm-keys -n llm-serving \\\n" in output
    assert '--from-literal=master-key="sk-$(openssl rand -hex 24)"' in output
    assert "pricePerNodeHourUsd" not in output, "what is given needs no reason"
    assert lines[-2] == "Total $0.80/h from the fewest to the most replicas"


PRICED = STACK.replace(
    "{storageClass: rwx}",
    "{kind: nodeCache, storageClass: nvme, usdPerGibMonth: 0.5, from: {storageClass: rwx, usdPerGibMonth: 0.1}}",
).replace("contextTokens: 8192}", "contextTokens: 8192, replicas: {max: 2}}")


def test_storage_and_what_it_costs_are_said(capsys, project):
    """A line for each class, and the sum beside that of the nodes; without a price sizes alone."""
    directory = project(priced=PRICED, free=STACK)
    _, priced, _ = preview(capsys, "--project", directory, "--stack", "priced")
    assert (
        "storage     2.0 GiB on claims of rwx, $0.20/month\n            2.0–4.0 GiB on nodes: nvme, $1.00–$2.00/month"
        in (priced)
    )
    assert priced.splitlines()[-2].endswith("replicas; storage $1.20–$2.20/month")
    _, free, _ = preview(capsys, "--project", directory, "--stack", "free")
    assert "storage     2.0 GiB on claims of rwx\n" in free
    assert "/month" not in free


def test_json_says_why_downloads_go_the_way_they_go(capsys, project):
    """What the page says below its weights, and how long compiling takes once it is kept."""
    proxied = STACK.replace("identifier: test-1", 'identifier: test-1, proxy: {endpoint: "http://proxy.corp:3128"}')
    proxied = proxied.replace("storageClass: rwx", "storageClass: rwx, hub: {xet: false}")
    folder = project(one=proxied, two=f"{STACK}  llm-stack:compileCache: {{kind: claim, storageClass: rwx}}\n")
    documents = [
        json.loads(preview(capsys, "--project", folder, "--stack", name, "--json")[1]) for name in ("one", "two")
    ]
    assert [document["weights"] for document in documents] == [
        {"why": {"hub.xet": "given", "cluster.proxy": "through it to huggingface"}},
        {"why": {}},
    ]
    assert [document["models"]["small"]["compile_again_s"] for document in documents] == [None, 20]


def test_a_sum_says_what_it_lacks(capsys, project):
    """Classes that nobody has given a price, beside one that has one; a sum of nothing is not said."""
    partly = PRICED.replace("usdPerGibMonth: 0.5, ", "")
    folder = project(one=f"{partly}  llm-stack:compileCache: {{kind: claim, storageClass: fast}}\n")
    _, output, _ = preview(capsys, "--project", folder, "--stack", "one")
    assert (
        " ".join(output.splitlines()[-3:])
        .strip()
        .endswith("storage $0.20/month, without nvme, fast, whose price nobody gives")
    )
    document = json.loads(preview(capsys, "--project", folder, "--stack", "one", "--json")[1])
    assert document["storage"]["unpriced"] == ["nvme", "fast"]


def test_json_says_what_is_kept_and_what_a_start_is_made_of(capsys, project):
    """Sizes, how many, dollars; and the phases of a start with where their figures are from."""
    code, output, _ = preview(capsys, "--project", project(one=PRICED), "--stack", "one", "--json")
    document = json.loads(output)
    claim = {"what": "weights of Qwen/Qwen3-0.6B", "medium": "claim", "place": "rwx", "gib": 2, "count": [1, 1]}
    copies = {"what": "copies of Qwen/Qwen3-0.6B for vllm-small", "medium": "node", "place": "nvme", "gib": 2}
    assert (code, document["storage"]) == (
        0,
        {
            "usd_per_month": [1.2, 2.2],
            "unpriced": [],
            "kept": [
                {**claim, "usd_per_month": [0.2, 0.2]},
                {**copies, "count": [1, 2], "usd_per_month": [1.0, 2.0]},
            ],
        },
    )
    start = document["models"]["small"]["start"]
    assert [(phase["phase"], phase["seconds"]) for phase in start] == [
        ("copy", 3),
        ("load", 1),
        ("compile", 240),
        ("engine", 60),
    ]
    assert start[0]["source"] == "500 MiB/s, readMibPerS of what is copied"


def test_weights_on_disk_are_not_said_to_be_fetched(capsys, project):
    """The report names the existing claim and the size of what must be on it, and speaks of no download."""
    text = STACK.replace("storageClass: rwx", "kind: existingClaim, claimName: disk")
    _, output, errors = preview(capsys, "--project", project(one=text), "--stack", "one")
    assert (errors, text == STACK) == ("", False)
    assert "weights     on the existing claim disk, mounted read-only; it is neither filled nor changed\n" in output
    assert "Qwen/Qwen3-0.6B @ c1899de289a0, 1.2 GiB\n" in output
    assert "• PersistentVolumeClaim disk in llm-serving: must hold" in output
    assert [
        word for word in ("fetch", "download", "filled from", "storageClass", "StorageClass") if word in output
    ] == []


def bar(output: str) -> str:
    """The memory bar of the first model, without label and figure."""
    line = next(line for line in output.splitlines() if line.startswith("memory"))
    return "".join(sign for sign in line if sign in "▓▒█·")


def test_the_memory_bar_is_to_scale(capsys, project):
    """Every part of the memory has its own sign, and its share of the bar is its share of the GPU."""
    directory = project(one=STACK)
    _, text, _ = preview(capsys, "--project", directory, "--stack", "one")
    _, output, _ = preview(capsys, "--project", directory, "--stack", "one", "--json")
    model = json.loads(output)["models"]["small"]
    cells = 64 / model["memory_gib_per_gpu"]
    assert len(bar(text)) == 64
    assert bar(text).count("▓") == round(model["weights_gib_per_gpu"] * cells)
    assert abs(bar(text).count("█") - model["kv_cache_gib_per_gpu"] * cells) < 2
    assert bar(text) == "".join(sorted(bar(text), key="▓▒█·".index))


@pytest.mark.parametrize("columns", [80, 120])
def test_the_report_fits_the_terminal(capsys, project, monkeypatch, columns):
    """On a terminal the report has its width and its colours; NO_COLOR takes the colours away."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(columns))
    directory = project(one=STACK)
    _, colourful, _ = preview(capsys, "--project", directory, "--stack", "one")
    monkeypatch.setenv("NO_COLOR", "1")
    _, plain, _ = preview(capsys, "--project", directory, "--stack", "one")
    assert "\x1b[34m" in colourful
    assert "\x1b[34m" not in plain
    text = plain.replace("\x1b[1m", "").replace("\x1b[2m", "").replace("\x1b[0m", "")
    # a command that is to be copied is never cut
    widest = max(len(line) for line in text.splitlines() if "\x1b" not in line and "$entry" not in line)
    assert widest == columns


def test_every_kind_of_server_has_its_page(capsys, project):
    """Canaries, CPU servers, scaling to zero and replicas over several nodes are all told."""
    text = """
config:
  llm-stack:cluster: {context: test, identifier: test-1}
  llm-stack:gpuPools:
    h100: {gpu: nvidia-h100, nodes: 2, gpusPerNode: 8}
    l4: {gpu: nvidia-l4, nodes: 4, gpusPerNode: 1, pricePerNodeHourUsd: 0.8}
    cpu: {gpu: none, nodes: 1, cpusPerNode: 16, memoryGibPerNode: 64}
  llm-stack:weights: {storageClass: rwx}
  llm-stack:models:
    large: {model: deepseek-ai/DeepSeek-R1, pool: h100}
    idle: {model: Qwen/Qwen3-0.6B, pool: l4, replicas: {min: 0, max: 2}}
    small: {model: Qwen/Qwen3-0.6B, pool: l4, canary: {weight: 10, contextTokens: 4096}}
    slow: {model: Qwen/Qwen3-0.6B, pool: cpu}
  llm-stack:gateway: {existingSecret: llm-keys}
"""
    code, output, errors = preview(capsys, "--project", project(one=text), "--stack", "one")
    assert (code, errors) == (0, "")
    assert "small-canary  Qwen/Qwen3-0.6B ─" in output
    assert "canary      gets 10 % of the requests for small\n" in output
    assert "16 × NVIDIA H100" in output
    assert " over 2 nodes of pool h100, TP 8 × PP 2, vLLM" in output
    assert "14 CPU cores and" in output
    assert "replicas    0–2 by KEDA: one more while over 10 wait per replica\n" in output
    assert "$0.80/h per replica, $0–$1.60/h in all" in output
    told = " ".join(output.split())
    assert "estimate: 16 cores and 64 GiB at a public cloud's on-demand prices; give yours" in told
    assert "Total $112.46–$114.06/h from the fewest to the most replicas" in told


def test_every_reason_is_a_line_on_stderr(capsys, project):
    """A refused stack says each reason on a line of its own, path first, and nothing else; exit code 2."""
    text = STACK.replace("model: Qwen/Qwen3-0.6B", "model: Qwen/Qwen3-32B") + "  llm-stack:modles: {}\n"
    code, output, errors = preview(capsys, "--project", project(one=text), "--stack", "one")
    lines = errors.splitlines()
    assert (code, output, len(lines)) == (2, "", 2)
    assert lines[0] == "modles: unknown key; did you mean 'models'?"
    assert lines[1].startswith("models.small: needs ")


def test_a_refusal_is_also_a_document(capsys, project):
    """With `--json` a refused stack still prints its document, without objects and with every reason."""
    text = STACK.replace("model: Qwen/Qwen3-0.6B", "model: Qwen/Qwen3-32B")
    code, output, errors = preview(capsys, "--project", project(one=text), "--stack", "one", "--json")
    document = json.loads(output)
    (problem,) = document["refused"]
    assert (code, document["objects"], document["cost"]) == (2, [], None)
    assert errors == f"{problem['path']}: {problem['message']}\n"
    assert document["models"] == {"small": {"fits": False, "reasons": [problem["message"]]}}


def test_one_refused_stack_does_not_hide_the_others(capsys, tiny):
    """With several stacks, the good ones are reported and the lines of the others say which stack they are about."""
    directory = tiny(bad="config: {refuse: not today}", good="config: {claims: {x: 1Gi}}", worse="config: [1]")
    code, output, errors = preview(capsys, "--project", directory)
    assert (code, errors.splitlines()) == (
        2,
        [
            "Pulumi.bad.yaml: __main__.py: not today",
            "Pulumi.worse.yaml: Pulumi.worse.yaml: config must be a mapping of keys",
        ],
    )
    assert next(line for line in output.splitlines() if "═" in line).startswith("tiny · good ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("config: {a: [", "Pulumi.one.yaml: line 1, column 14: expected the node content, but found '<stream end>'\n"),
        ("config: text", "Pulumi.one.yaml: config must be a mapping of keys\n"),
        ("[]", "Pulumi.one.yaml: must be a mapping of keys\n"),
        (
            STACK + "  llm-stack:models: {}\n",
            "Pulumi.one.yaml: line 8, column 3: the key 'llm-stack:models' is given twice\n",
        ),
        (STACK.replace("{storageClass: rwx}", "rwx"), 'weights: "rwx" must be a mapping of keys\n'),
        (STACK.replace("nodes: 2", "nodes: many"), 'gpuPools.l4.nodes: "many" must be a whole number\n'),
    ],
)
def test_bad_input_is_refused_without_a_traceback(capsys, project, text, expected):
    """Malformed YAML, wrong shapes and wrong types are one line each; exit code 2."""
    code, output, errors = preview(capsys, "--project", project(one=text), "--stack", "one")
    assert (code, output) == (2, "")
    assert errors.splitlines()[0] + "\n" == expected


def test_required_keys_are_named_with_their_meaning(capsys, project):
    """An empty stack is told what every required key is for."""
    code, _, errors = preview(capsys, "--project", project(one=""), "--stack", "one")
    assert code == 2
    assert errors.splitlines()[:2] == [
        "cluster: is missing: which cluster",
        "gpuPools: is missing: groups of nodes, by name",
    ]


def test_secrets_are_never_shown(capsys, project, tmp_path):
    """Neither the report, nor the document, nor a file has a value of an encrypted key, or what stands for it."""
    directory, out = project(one=OWN_KEY), tmp_path / "out"
    code, report, _ = preview(capsys, "--project", directory, "--stack", "one", "--out", out)
    _, document, _ = preview(capsys, "--project", directory, "--stack", "one", "--json")
    files = {path.name: path.read_text() for path in out.iterdir()}
    assert code == 0
    assert [text for text in (report, document, *files.values()) if PLACEHOLDER in text or "v1:abc" in text] == []
    secrets = [yaml.safe_load(text)["stringData"] for name, text in files.items() if name.startswith("secret-")]
    assert secrets
    assert {value for data in secrets for value in data.values()} == {"<secret>"}


def test_a_secret_inside_an_object_is_refused(capsys, project):
    """A cipher in the middle of an object would end up in clear in the state, so the key is refused, unquoted."""
    text = STACK.replace("storageClass: rwx", "storageClass: rwx, prewarm: {secure: v1:abc}")
    code, output, errors = preview(capsys, "--project", project(one=text), "--stack", "one")
    assert (code, output) == (2, "")
    assert errors == "weights: holds a secret; secrets are the top-level keys gatewayMasterKey and huggingFaceToken\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stack", "pord"], "no stack 'pord'; stacks: dev, prod"),
        (["--stak", "prod"], "unrecognized arguments: --stak prod"),
        (["--stack"], "argument --stack: expected one argument"),
        (["prod"], "unrecognized arguments: prod"),
    ],
)
def test_wrong_usage_is_64(capsys, tiny, arguments, message):
    """Whatever is wrong with the command line is said in one line; exit code 64, which is not a refusal."""
    code, output, errors = preview(capsys, "--project", tiny(dev="", prod=""), *arguments)
    assert (code, output, errors.splitlines()[0]) == (64, "", f"python -m preview: {message}")


def test_help_names_everything(capsys):
    """`--help` explains options, the other command and the exit codes, and exits 0."""
    with pytest.raises(SystemExit) as done:
        main(["--help"])
    output = capsys.readouterr().out
    assert done.value.code == 0
    assert [
        word for word in ("--stack", "--json", "--out", "--project", "diff --base", "64") if word not in output
    ] == []


def test_a_project_without_stacks_is_wrong_usage(capsys, tiny):
    """There is nothing to preview where no stack has a file."""
    expected = "python -m preview: no stack file Pulumi.<stack>.yaml beside Pulumi.yaml\n"
    assert preview(capsys, "--project", tiny()) == (64, "", expected)


def test_a_missing_project_is_refused(capsys, tmp_path):
    """A directory without `Pulumi.yaml` is refused in one line."""
    expected = "Pulumi.yaml: cannot be read: no such file or directory\n"
    assert preview(capsys, "--project", tmp_path / "nowhere") == (2, "", expected)


def test_a_bug_in_the_program_is_no_refusal(capsys, tiny):
    """What is not about the configuration keeps its traceback: it is for whoever mends the program."""
    with pytest.raises(ValueError, match="inside the program"):
        preview(capsys, "--project", tiny(a="config: {crash: inside the program}"), "--stack", "a")


def test_as_a_process(project):
    """`python -m preview` exits with the code and writes nothing beside the reasons."""
    text = STACK.replace("pool: l4", "pool: l40")
    command = [sys.executable, "-m", "preview", "--project", project(one=text), "--stack", "one"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    expected = "models.small.pool: no pool 'l40'; did you mean 'l4'?\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)


def test_each_checkpoint_stands_below_its_place(capsys):
    """Where a stack has several kinds of weights, it is said of each checkpoint in which of them it is."""
    _, text, _ = preview(capsys, "--project", str(ROOT / "examples" / "weights"), "--stack", "weights")
    lines = [line.strip() for line in text.splitlines()]
    part = lines[lines.index(next(line for line in lines if line.startswith("weights "))) :]
    end = part.index("• Qwen/Qwen3-1.7B @ 70d244cc86cc, 3.4 GiB") + 1
    where = [line for line in part[:end] if "mounted" not in line]
    assert "• Qwen/Qwen3-1.7B @ 70d244cc86cc, 3.4 GiB, 42 s to bring it there once" in where
    assert [line.partition(",")[0] for line in where if line.startswith(("weights", "in ", "•"))] == [
        "weights     in s3://acme-models/published",
        "• Qwen/Qwen3-0.6B @ c1899de289a0",
        "in s3://acme-models/filled",
        "• Qwen/Qwen3-1.7B @ 70d244cc86cc",
        "in the image",
        "• Qwen/Qwen3-0.6B @ c1899de289a0",
        "in s3://acme-models/published",
        "• Qwen/Qwen3-14B @ 40c069824f42",
        "• Qwen/Qwen3-4B @ 1cfa9a720891",
        "• Qwen/Qwen3-4B @ 1cfa9a720891",
        "• Qwen/Qwen3-1.7B @ 70d244cc86cc",
    ]


def test_what_is_yours_is_shown_as_such(capsys, project):
    """Each addition has a line of its own, with the model or the gateway that it belongs to."""
    added = STACK.replace(
        "contextTokens: 8192}", "contextTokens: 8192, podLabels: {team: search}, priorityClassName: serving}"
    ).replace("{existingSecret: llm-keys}", "{existingSecret: llm-keys, secretEnv: {TENANT: {name: tenant, key: id}}}")
    _, out, _ = preview(capsys, "--project", project(tiny=added), "--stack", "tiny")
    lines = [line.strip() for line in out.splitlines()]
    assert [line for line in lines if "team=search" in line or "PriorityClass" in line or "TENANT" in line] == [
        "yours       • pod labels: team=search",
        "• PriorityClass serving",
        "• yours: variables: TENANT from id of Secret tenant",
        "• PriorityClass serving",
    ]


def test_a_stack_that_would_own_what_another_has_is_refused(capsys, project):
    """By the file of the other one, also where that was not asked for; beside it, what both count is a warning."""
    here = "cluster: {identifier: test-1, context: test, namespace: NAME}"
    beside = "gpuOperator: {install: false}\n  llm-stack:observability: {install: false}\n"
    texts = {name: STACK.replace(ONE, here.replace("NAME", name)) for name in ("same", "apart")}
    texts["apart"] += f"  llm-stack:{beside}"
    directory = project(one=texts["same"], two=texts["same"], three=texts["apart"])
    code, output, errors = preview(capsys, "--project", directory, "--stack", "two")
    assert (code, output) == (2, "")
    assert [line.partition(": ")[0] for line in errors.splitlines()] == [
        *("cluster.namespace", "gpuOperator.install", "observability.install")
    ]
    assert "'same' is that of Pulumi.one.yaml too" in errors
    (directory / "Pulumi.one.yaml").unlink()
    code, output, errors = preview(capsys, "--project", directory, "--stack", "three", "--json")
    assert (code, errors) == (0, "")
    assert any("nodes as pool l4 of Pulumi.two.yaml, so both count" in line for line in json.loads(output)["warnings"])
