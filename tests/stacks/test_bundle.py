"""What a network without internet needs: complete for every stack, and true in each format.

The script runs here with stand-ins for skopeo, helm and hf; that registries and hubs answer as those expect is not
proved, nor that a chart pulls what its table says.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from components.pod_scripts import fetch_weights
from preview.__main__ import BUNDLE_FORMATS, main
from preview.rendering.manifests import Category, Manifest
from preview.rendering.prerequisites import find_prerequisites
from preview.rendering.render import Rendering
from preview.reporting.bundle import FETCHED, LEFT, Bundle, BundleImage, Weights, decide
from preview.reporting.bundle_formats import FORMATS
from preview.reporting.bundle_listing import File, Listing, read
from settings.commandline import UsageError
from tests.harness import ROOT, Deployed, every_stack, faulty, minimal, pods, rendered, stack, walk

EVERY = pytest.mark.parametrize("name", every_stack())
BIN = Path(sys.executable).parent
DIGEST = "sha256:" + "ab" * 32
COMMIT = "c0ffee00" * 5
# Programs that fetch what an image does not have.
INSTALLERS = {"pip", "pip3", "uv", "uvx", "pipx", "npm", "npx", "yarn", "pnpm", "apt", "apt-get", "apk", "dnf", "yum",
              "curl", "wget", "git"}  # fmt: skip
MODEL = Weights(
    repository="Qwen/Qwen3-0.6B",
    revision=COMMIT,
    pinned=True,
    hub="huggingface",
    endpoint=None,
    directory=f"Qwen--Qwen3-0.6B/{COMMIT}",
    place="claim weights-x, which its Job fills",
    size_bytes=5,
    counted=True,
)


def bundle_of(deployed: Deployed, name: str, *listings: Listing) -> Bundle:
    """The bundle of a stack of the harness."""
    rendering = Rendering("llm-stack", name.replace(":", "-"), deployed.plan, deployed.records)
    return decide(rendering, deployed.manifests, listings)


def declared(deployed: Deployed) -> list[Manifest]:
    """Objects and patches: what is no release."""
    return [item for item in deployed.manifests if item.category is not Category.RELEASE]


# --- completeness -----------------------------------------------------------------------------------------------------


@EVERY
def test_every_rendered_image_is_in_the_bundle(name: str):
    """Whatever is called an image in any object, wherever it stands; and every one that the plan knows."""
    deployed = rendered(name)
    asked = {
        str(value)
        for item in declared(deployed)
        for path, value in walk(dict(item.body))
        if path.endswith((".image", ".image.reference")) and value not in ("image", "reference")
    }
    assert asked
    carried = {image.reference for image in bundle_of(deployed, name).images}
    assert asked | {image.reference for image in deployed.plan.images} <= carried


@EVERY
def test_every_chart_is_in_the_bundle_with_its_images(name: str):
    """Name, origin and version as the release has them, and all that its table names."""
    deployed = rendered(name)
    bundle = bundle_of(deployed, name)
    releases = [item.body for item in deployed.manifests if item.category is Category.RELEASE]
    wanted = [(item["chart"], item.get("repositoryOpts", {}).get("repo"), item["version"]) for item in releases]
    assert [(chart.reference, chart.repository, chart.version) for chart in bundle.charts] == wanted
    inside = {image for release in deployed.plan.releases.values() for image in release.images}
    assert inside <= {image.source for image in bundle.images}
    assert all(release.images for release in deployed.plan.releases.values())


@EVERY
def test_every_checkpoint_is_in_the_bundle(name: str):
    """Repository, commit and size of each that a server loads; one whose files nobody listed is said to be open."""
    deployed = rendered(name)
    bundle = bundle_of(deployed, name)
    wanted = {
        (one.model, one.revision, one.disk_bytes) for server in deployed.plan.servers for one in server.checkpoints
    }
    assert {(one.repository, one.revision, one.size_bytes) for one in bundle.weights} == wanted
    open_ = [line for line in bundle.not_known if line.endswith("or with the hub's listing")]
    assert len(open_) == len(bundle.weights) > 0


@EVERY
def test_no_two_images_land_on_one_name_of_a_mirror(name: str):
    """Hosts are left out there, so two of them must not have the same path."""
    script = FORMATS["copy-script"](bundle_of(rendered(name), name))
    targets = [line.split()[2] for line in script.splitlines() if line.startswith("image ") and len(line.split()) == 3]
    assert len(set(targets)) == len(targets) > 0


@EVERY
def test_a_program_without_a_plan_has_the_weights_of_its_jobs(name: str):
    """What is put together of single components names them to the Jobs alone; more than that is said to be open."""
    deployed = rendered(name)
    fetched = [one for one in deployed.plan.weights.checkpoints if one.fetch]
    bundle = decide(Rendering("p", "s"), deployed.manifests)
    assert sorted((one.repository, one.revision, one.pinned, one.hub, one.endpoint, one.directory) for one in
                  bundle.weights) == sorted(
        (one.model, one.revision, one.pinned, one.fetch.hub.kind, one.fetch.hub.endpoint, one.key[0])
        for one in fetched if one.fetch
    )  # fmt: skip
    assert bundle.not_known[-1].startswith("weights that no Job of this program fetches")
    assert not any(line.startswith("weights that") for line in bundle_of(deployed, name).not_known)


def test_images_that_are_mounted_are_carried():
    """An image volume is pulled as well as a container is."""
    manifest = replace(
        declared(rendered("variant:minimal"))[0],
        kind="Deployment",
        name="x",
        body={"spec": {"template": {"spec": {
            "initContainers": [{"image": "a/init:1.0"}],
            "containers": [{"image": "a/main:1.0"}],
            "volumes": [{"name": "m", "image": {"reference": f"a/model@{DIGEST}"}}, {"name": "t", "emptyDir": {}}],
        }}}},
    )  # fmt: skip
    found = decide(Rendering("p", "s"), [manifest]).images
    assert [(image.source, image.used_by, image.pinned) for image in found] == [
        ("a/init:1.0", ("Deployment x",), False),
        ("a/main:1.0", ("Deployment x",), False),
        (f"a/model@{DIGEST}", ("Deployment x",), True),
    ]


def test_images_of_a_mirror_are_copied_from_where_they_are_published():
    """What pods ask for is the mirror's; where it has it from is beside it."""
    pulled = {image.reference: image.source for image in bundle_of(rendered("variant:named-nodes"), "x").images}
    assert pulled["registry.example.com/mirror/vllm/vllm-openai:v0.33.0"] == "docker.io/vllm/vllm-openai:v0.33.0"
    assert pulled["registry.example.com/mirror/library/redis:8.10.1-trixie"] == "docker.io/library/redis:8.10.1-trixie"


def test_a_chart_of_another_version_is_said_to_be_open():
    """Its images are nobody's guess."""
    deployed = stack(minimal(models={"small": {"replicas": {"max": 2}}}, charts={"keda": {"version": "2.21.1"}}))
    bundle = bundle_of(deployed, "x")
    assert [line for line in bundle.not_known if line.startswith("keda")] == [
        "keda 2.21.1: the images of this version (known: 2.21.0); --helm renders it"
    ]
    assert [image.source for image in bundle.images if "kedacore" in image.source] == []


@EVERY
def test_no_pod_installs_anything(name: str):
    """PyPI, npm and a distribution's packages are not needed while a stack runs: nothing that is run asks for them."""
    faults: dict[str, set[str]] = {}
    for pod in pods(rendered(name)):
        for container in pod.containers:
            said = [*container.get("command", []), *container.get("args", [])]
            words = {Path(word).name for text in said for word in text.replace(";", " ").replace("&", " ").split()}
            variables = {item["name"] for item in container.get("env", [])}
            faults[f"{pod.owner}/{container['name']}"] = words & INSTALLERS | {
                variable for variable in variables if variable.upper().startswith(("PIP_", "NPM_", "UV_"))
            }
    assert faulty(faults) == {}


# --- pull secrets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [[], ["registry", "other"]])
def test_every_pod_is_pulled_with_the_secrets_of_the_stack(given: list[str]):
    """By its ServiceAccount, so that no pod restarts for it; a stack without the setting declares what it did."""
    config = minimal(
        gpuPools={"l4": {"provisioning": {"kind": "existing", "nodeNames": ["n1", "n2"]}}},
        gateway={"existingSecret": "llm-keys", "database": {"existingSecret": "llm-database"}},
        images={"pullSecrets": given} if given else None,
    )
    deployed = stack(config)
    accounts = {item["metadata"]["name"]: item for item in deployed.objects("ServiceAccount")}
    used = {pod.spec["serviceAccountName"] for pod in pods(deployed)}
    assert used == accounts.keys()
    wanted = [{"name": name} for name in given] or None
    assert {name: item.get("imagePullSecrets") for name, item in accounts.items()} == dict.fromkeys(accounts, wanted)
    assert [pod.owner for pod in pods(deployed) if "imagePullSecrets" in pod.spec] == []


@pytest.mark.parametrize(
    ("sections", "namespaces"),
    [
        ({}, {"gpu-operator", "llm-serving", "monitoring"}),
        # the adapter's chart takes names alone
        (
            {"observability": {"install": False}, "autoscaling": {"driver": "hpa"},
             "models": {"small": {"replicas": {"max": 2}}}, "gpuOperator": {"install": False}},
            {"llm-serving", "monitoring"},
        ),
    ],
)  # fmt: skip
def test_pull_secrets_are_expected_in_every_namespace(sections: dict[str, Any], namespaces: set[str]):
    """Where pods of the stack are, and where those of its operators are, with the command that makes each."""
    found = find_prerequisites(stack(minimal(images={"pullSecrets": ["registry"]}, **sections)).manifests)
    secrets = {item.namespace: item.command for item in found if (item.kind, item.name) == ("Secret", "registry")}
    assert secrets.keys() == namespaces
    assert [f"docker-registry registry -n {where}" in command for where, command in secrets.items()] == [True] * len(
        namespaces
    )


# --- formats ----------------------------------------------------------------------------------------------------------


def test_formats_are_those_of_the_command_line():
    """The command line lists them without importing them."""
    assert tuple(FORMATS) == BUNDLE_FORMATS


@EVERY
def test_the_bill_of_materials_is_cyclonedx(name: str):
    """By the schema of CycloneDX 1.6 itself; every component once."""
    bundle = bundle_of(rendered(name), name, Listing(*_first(name), (File("a/model.safetensors", 5, "0" * 64),)))
    text = FORMATS["cyclonedx"](bundle)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    kinds = [component["type"] for component in json.loads(text)["components"]]
    assert (kinds.count("container"), kinds.count("application"), kinds.count("machine-learning-model")) == (
        len(bundle.images),
        len(bundle.charts),
        len({(one.repository, one.revision) for one in bundle.weights}),
    )
    assert FORMATS["cyclonedx"](bundle) == text


def _first(name: str) -> tuple[str, str, str]:
    one = rendered(name).plan.weights.checkpoints[0]
    return one.model, one.revision, one.revision


def test_a_bill_of_materials_with_a_fault_is_refused_by_the_schema():
    """So the test above can fail."""
    text = FORMATS["cyclonedx"](bundle_of(rendered("prod"), "prod")).replace('"container"', '"image"')
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is not None


def test_hauler_gets_its_three_kinds():
    """Images by digest where one is known, charts of both origins, files of weights by address."""
    bundle = replace(
        bundle_of(rendered("variant:two-nodes"), "two"),
        images=(
            BundleImage(f"ghcr.io/a/b:v1.0@{DIGEST}", "x", ("Job y",)),
            BundleImage("a.io:5000/c:v2.0", "a.io:5000/c:v2.0", ()),
        ),
        weights=(replace(MODEL, files=(File("model.safetensors", 5, None),)),),
    )
    images, charts, files = yaml.safe_load_all(FORMATS["hauler"](bundle))
    assert {(item["apiVersion"], item["metadata"]["name"]) for item in (images, charts, files)} == {
        ("content.hauler.cattle.io/v1", f"llm-stack-two-{kind}") for kind in ("images", "charts", "files")
    }
    assert images["spec"] == {"images": [{"name": f"ghcr.io/a/b@{DIGEST}"}, {"name": "a.io:5000/c:v2.0"}]}
    assert [item for item in charts["spec"]["charts"] if item["name"] in ("lws", "keda")] == [
        {"name": "keda", "repoURL": "https://kedacore.github.io/charts", "version": "2.21.0"},
        {"name": "lws", "repoURL": "oci://registry.k8s.io/lws/charts", "version": "0.10.0"},
    ]
    address = f"https://huggingface.co/Qwen/Qwen3-0.6B/resolve/{COMMIT}/model.safetensors"
    assert files["spec"]["files"] == [{"path": address, "name": f"Qwen--Qwen3-0.6B--{COMMIT}--model.safetensors"}]


# --- the script -------------------------------------------------------------------------------------------------------

STAND_IN = """#!/bin/sh
echo "$(basename "$0") $*" >> "$CALLS"
case "$(basename "$0") $1" in
  "skopeo copy") case "$*" in *"$BROKEN"*) exit 1 ;; esac ;;
  "helm pull") while [ $# -gt 1 ]; do [ "$1" = --destination ] && : > "$2/chart.tgz"; shift; done ;;
  "hf cache") case "$*" in *"$BROKEN"*) exit 1 ;; esac ;;
  "hf download") while [ $# -gt 1 ]; do [ "$1" = --local-dir ] && to=$2; shift; done
    mkdir -p "$to/.cache" && printf 12345 > "$to/model.safetensors"
    [ -z "$INDEX" ] || printf %s "$INDEX" > "$to/model.safetensors.index.json" ;;
esac
"""


def copied(
    folder: Path, bundle: Bundle, *arguments: str, broken: str = "nothing", index: str = ""
) -> tuple[int, str, list[str]]:
    """Exit code, stderr and calls of the script with stand-ins for the programs it uses.

    `broken`: what fails, `index`: which shards the checkpoint says it has.
    """
    for name in ("skopeo", "helm", "hf"):
        (folder / name).write_text(STAND_IN)
        (folder / name).chmod(0o755)
    script, calls = folder / "copy.sh", folder / "calls"
    script.write_text(FORMATS["copy-script"](bundle))
    calls.write_text("")
    environment = {
        "PATH": f"{folder}:{BIN}:{os.environ['PATH']}",
        "CALLS": str(calls),
        "BROKEN": broken,
        "INDEX": index,
    }
    done = subprocess.run(
        ["sh", str(script), *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr, calls.read_text().splitlines()


@EVERY
def test_the_script_has_nothing_that_shellcheck_finds(name: str, tmp_path: Path):
    """POSIX sh, every expansion quoted."""
    script = tmp_path / "copy.sh"
    script.write_text(FORMATS["copy-script"](bundle_of(rendered(name), name)))
    done = subprocess.run([BIN / "shellcheck", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def small(**changes: Any) -> Bundle:
    """One of everything."""
    whole = bundle_of(rendered("variant:two-nodes"), "two")
    charts = tuple(chart for chart in whole.charts if chart.name in ("keda", "lws"))
    images = (BundleImage(f"ghcr.io/a/b:v1.0@{DIGEST}", "x", ()), BundleImage("docker.io/library/redis:8.0", "x", ()))
    return replace(whole, **{"images": images, "charts": charts, "weights": (MODEL,), "not_known": (), **changes})


def test_the_script_copies_everything(tmp_path: Path):
    """Images by digest with all their platforms, charts, and weights with a manifest that servers accept."""
    code, said, calls = copied(tmp_path, small(), "reg.corp/hub/", "out")
    assert (code, said) == (0, "")
    flags = "--all --preserve-digests --retry-times 3"
    assert [line for line in calls if line.startswith("skopeo")] == [
        f"skopeo copy {flags} docker://ghcr.io/a/b@{DIGEST} docker://reg.corp/hub/a/b:v1.0",
        f"skopeo copy {flags} docker://docker.io/library/redis:8.0 docker://reg.corp/hub/library/redis:8.0",
    ]
    assert [line.partition(" --destination")[0] for line in calls if line.startswith("helm pull")] == [
        "helm pull keda --version 2.21.0",
        "helm pull oci://registry.k8s.io/lws/charts/lws --version 0.10.0",
    ]
    assert [line.split()[-1] for line in calls if line.startswith("helm push")] == ["oci://reg.corp/hub/charts"] * 2
    download, verify = (line for line in calls if line.startswith("hf"))
    assert verify == f"hf cache verify Qwen/Qwen3-0.6B --revision {COMMIT} --local-dir out/Qwen--Qwen3-0.6B/{COMMIT}"
    assert f"download Qwen/Qwen3-0.6B --revision {COMMIT} --local-dir out/Qwen--Qwen3-0.6B/{COMMIT}" in download
    published = tmp_path / "out" / "Qwen--Qwen3-0.6B" / COMMIT
    assert {path.name for path in published.iterdir()} == {"model.safetensors", "manifest.json"}
    job = fetch_weights.Job({"MODEL_REPO": "Qwen/Qwen3-0.6B", "MODEL_REVISION": COMMIT, "TARGET_DIR": str(published)})
    assert fetch_weights.is_published(job)
    # what is there already is not fetched again
    assert [line for line in copied(tmp_path, small(), "reg.corp/hub", "out")[2] if line.startswith("hf")] == []


def test_the_script_goes_on_and_says_what_is_missing(tmp_path: Path):
    """One image that cannot be had keeps nothing else from being copied."""
    code, said, calls = copied(tmp_path, small(), "reg.corp", broken="a/b@")
    assert (code, said) == (
        1,
        f"not copied: ghcr.io/a/b@{DIGEST}\n1 of 5 could not be copied; run this again\n",
    )
    assert [line.split()[0] for line in calls].count("helm") == 4


@pytest.mark.parametrize(("sha256", "code"), [("5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5", 0),
                                              ("0" * 64, 1)])  # fmt: skip
def test_the_script_compares_hashes_that_are_known(tmp_path: Path, sha256: str, code: int):
    """Bytes that are others get no manifest, so no server takes them."""
    listed = replace(MODEL, files=(File("model.safetensors", 5, sha256), File("config.json", 2, None)))
    found, said, _ = copied(tmp_path, small(weights=(listed,)), "reg.corp")
    assert (found, "not copied: Qwen/Qwen3-0.6B" in said) == (code, bool(code))
    assert (tmp_path / "weights" / MODEL.directory / "manifest.json").exists() is not bool(code)


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        (
            {"broken": "cache verify"},
            "run this again\nnot copied: Qwen/Qwen3-0.6B\n1 of 5 could not be copied; run this again\n",
        ),
        (
            {"index": '{"weight_map": {"a": "model.safetensors", "b": "other.safetensors"}}'},
            "lacks other.safetensors\n",
        ),
    ],
)
def test_half_a_checkpoint_gets_no_manifest(tmp_path: Path, faults: dict[str, str], said: str):
    """A hub that is not asked a second time, and shards that the checkpoint's own index names and nobody has."""
    code, err, _ = copied(tmp_path, small(), "reg.corp", **faults)
    assert (code, said in err) == (1, True)
    assert not (tmp_path / "weights" / MODEL.directory / "manifest.json").exists()


@pytest.mark.parametrize("arguments", [(), ("a", "b", "c")])
def test_the_script_says_how_it_is_used(tmp_path: Path, arguments: tuple[str, ...]):
    """And does nothing."""
    code, said, calls = copied(tmp_path, small(), *arguments)
    assert (code, said.startswith("usage: "), calls) == (64, True, [])


def test_the_script_fetches_what_the_weights_job_does():
    """Patterns of the Job's own script."""
    assert (sorted(FETCHED), sorted(LEFT)) == (sorted(fetch_weights.INCLUDE), sorted(fetch_weights.EXCLUDE))


# --- listings ---------------------------------------------------------------------------------------------------------

MANIFEST = {"repo": "a/b", "revision": COMMIT, "files": {"model.safetensors": {"bytes": 5, "sha256": "0" * 64}}}
ANSWER = {"id": "a/b", "sha": COMMIT, "siblings": [
    {"rfilename": "model.safetensors", "size": 5, "lfs": {"sha256": "0" * 64, "size": 5}},
    {"rfilename": "config.json", "size": 2, "blobId": "0" * 40},
    {"rfilename": "original/consolidated.00.safetensors", "size": 9},
    {"rfilename": "pytorch_model.bin", "size": 9},
    {"rfilename": ".gitattributes", "size": 9},
]}  # fmt: skip


def listed(folder: Path, content: object) -> Path:
    """A listing as a file."""
    path = folder / "listing.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("content", "files"),
    [
        (MANIFEST, (File("model.safetensors", 5, "0" * 64),)),
        # of files in git itself the hub has no hash of the bytes
        (ANSWER, (File("config.json", 2, None), File("model.safetensors", 5, "0" * 64))),
    ],
)
def test_files_are_those_of_a_listing(tmp_path: Path, content: object, files: tuple[File, ...]):
    """Of the Job's manifest or of the hub's answer, without what the Job does not fetch."""
    found = read(listed(tmp_path, content), FETCHED, LEFT)
    assert (found.is_of("a/b", COMMIT), found.is_of("a/b", "main"), found.files) == (True, False, files)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", "null", "7", '{"siblings": 3}',
     {**MANIFEST, "files": {"../x.json": {"bytes": 1, "sha256": "0" * 64}}},
     {**MANIFEST, "files": {"x.json": {"bytes": 1, "sha256": "x"}}},
     {**MANIFEST, "files": {"a\nSUMS\n.json": {"bytes": 1, "sha256": "0" * 64}}}, "[" * 100_000],
)  # fmt: skip
def test_what_is_no_listing_is_wrong_usage(tmp_path: Path, content: object):
    """Whatever it is, and names that would lead elsewhere."""
    with pytest.raises(UsageError, match=r"is neither the manifest\.json of a checkpoint nor the hub's answer"):
        read(listed(tmp_path, content), FETCHED, LEFT)


def test_a_listing_makes_sizes_exact():
    """The sum of its files, and nothing is open any more."""
    model, revision, commit = _first("prod")
    listing = Listing(model, revision, commit, (File("a.safetensors", 5, "0" * 64), File("b.json", 2, None)))
    bundle = bundle_of(rendered("prod"), "prod", listing)
    (found,) = (one for one in bundle.weights if one.repository == model)
    assert (found.size_bytes, found.counted, len(found.files)) == (7, True, 2)
    assert [line for line in bundle.not_known if line.startswith(model)] == []


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--stack", "prod"], 0, ""),
        ([], 64, "python -m preview: the following arguments are required: --stack"),
        (["--stack", "nowhere"], 64, "python -m preview: no stack 'nowhere'"),
        (["--stack", "prod", "--format", "zip"], 64, "python -m preview: argument --format: invalid choice: 'zip'"),
        (["--stack", "prod", "--listing", "/nowhere"], 64, "python -m preview: /nowhere: no such file"),
    ],
)
def test_the_command_ends_as_others_do(capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str):
    """0 printed, 64 wrong usage."""
    found = main(["bundle", "--project", str(ROOT), *arguments])
    out, err = capsys.readouterr()
    assert (found, bool(out), err.startswith(said)) == (code, code == 0, True)


def test_a_refused_stack_has_no_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Exit 2, each reason on a line of its own."""
    for name in ("Pulumi.yaml", "Pulumi.dev.yaml"):
        (tmp_path / name).write_text(
            (ROOT / name).read_text().replace("name: llm-stack\n", f"name: llm-stack\nmain: {ROOT}\n")
        )
    text = (tmp_path / "Pulumi.dev.yaml").read_text()
    (tmp_path / "Pulumi.dev.yaml").write_text(text + '  llm-stack:images: {mirror: "HTTP://x"}\n')
    code = main(["bundle", "--project", str(tmp_path), "--stack", "dev"])
    out, err = capsys.readouterr()
    assert (code, out, err.startswith("images.mirror: ")) == (2, "", True)


def test_json_has_all_of_it():
    """As the text, for programs."""
    bundle = bundle_of(rendered("prod"), "prod")
    found = json.loads(FORMATS["json"](bundle))
    assert [item["source"] for item in found["images"]] == [image.source for image in bundle.images]
    assert found["images"][0].keys() == {"source", "reference", "used_by", "pinned"}
    assert found["weights"][0].keys() == vars(bundle.weights[0]).keys()
    assert (found["not_known"], found["stack"]) == (list(bundle.not_known), "prod")
