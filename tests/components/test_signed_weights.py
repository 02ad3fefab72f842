"""Signed weights: the Job that verifies a signature, with OpenSSF's own program and its rendered command.

Runs model-signing 1.1.1 as it is on PyPI. Does not prove that an image of it has the same program, nor any signature of
Sigstore or of certificates.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from preview.rendering.prerequisites import find_prerequisites
from tests.harness import VARIANTS, Deployed, container_of, minimal, pods, rendered, stack
from tests.kubernetes_rules import leaves

STACK = "variant:signed"
REVISION = "c1899de289a04d12100db370d81485cdf75e47ca"
CHECKPOINT = "qwen--qwen3-0-6b-c1899de2"
DIRECTORY = f"/models/Qwen--Qwen3-0.6B/{REVISION}"
PROGRAM = Path(sys.executable).with_name("model_signing")
DNS = {("kube-system", "UDP/53,TCP/53"), ("169.254.20.10/32", "UDP/53,TCP/53")}


def job(deployed: Deployed) -> Any:
    """The one Job that verifies."""
    return deployed.object("Job", f"signed-{CHECKPOINT}")


def test_a_signature_is_verified_after_the_download_and_before_the_servers():
    """The Job waits for what fills the claim, servers wait for it, and it reads the claim alone."""
    deployed = rendered(STACK)
    logical = f"weights-{CHECKPOINT}-signed"
    assert {f"Job/weights-{CHECKPOINT}", f"PersistentVolumeClaim/weights-{CHECKPOINT}"} <= deployed.depends_on(
        "Job", logical
    )
    assert f"Job/{logical}" in deployed.depends_on("Deployment", "vllm-small")
    spec = job(deployed)["spec"]
    (rule,) = spec["podFailurePolicy"]["rules"]
    assert rule == {"action": "FailJob", "onExitCodes": {"containerName": "verify", "operator": "In", "values": [1, 2]}}
    claim = {"claimName": f"weights-{CHECKPOINT}", "readOnly": True}
    assert {"name": "models", "persistentVolumeClaim": claim} in spec["template"]["spec"]["volumes"]
    policies = deployed.objects("NetworkPolicy")
    reached = {pod.owner: leaves(policies, pod) for pod in pods(deployed)}
    assert reached[f"Job signed-{CHECKPOINT}"] == DNS


def test_the_download_of_signed_weights_is_the_one_of_others():
    """Nothing but one Job and its account is there besides."""
    plain = VARIANTS["minimal"]
    assert sorted(set(rendered(STACK).children("weights")) - set(stack(plain).children("weights"))) == [
        ("Job", f"weights-{CHECKPOINT}-signed", f"signed-{CHECKPOINT}"),
        ("ServiceAccount", "weights-verify", "model-weights-verify"),
    ]


def test_the_config_map_is_expected_with_its_entries():
    """Who reads the preview knows what has to be there."""
    expected = [one for one in find_prerequisites(rendered(STACK).manifests) if one.kind == "ConfigMap"]
    assert [(one.name, one.keys) for one in expected] == [("qwen-signature", ("key.pub", "model.sig"))]


def test_a_claim_that_exists_is_verified_too():
    """There the Job alone stands before the servers."""
    weights = {"storageClass": None, "kind": "existingClaim", "claimName": "disk"}
    deployed = stack(minimal(weights=weights, models=VARIANTS["signed"]["models"]))
    volumes = job(deployed)["spec"]["template"]["spec"]["volumes"]
    assert {"name": "models", "persistentVolumeClaim": {"claimName": "disk", "readOnly": True}} in volumes
    assert f"Job/weights-{CHECKPOINT}-signed" in deployed.depends_on("Deployment", "vllm-small")


# --- the program ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Private and public keys of a signer and of somebody else."""
    folder, made = tmp_path_factory.mktemp("keys"), {}
    for name in ("signer", "other"):
        private = ec.generate_private_key(ec.SECP256R1())
        made[name], made[f"{name}.pub"] = folder / name, folder / f"{name}.pub"
        made[name].write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        made[f"{name}.pub"].write_bytes(public)
    return made


@pytest.fixture
def signed(tmp_path: Path, keys: dict[str, Path]) -> Path:
    """A folder with `model` in it, signed, and published with its manifest after that."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(bytes(range(256)) * 1000)
    (model / "config.json").write_text("{}")
    told = ["sign", "key", model, "--private_key", keys["signer"], "--signature", tmp_path / "model.sig"]
    subprocess.run([PROGRAM, *told], check=True, capture_output=True)
    (model / "manifest.json").write_text("{}")
    (tmp_path / "key.pub").write_bytes(keys["signer.pub"].read_bytes())
    return tmp_path


def verify(folder: Path) -> tuple[int, str]:
    """(exit status, output) of the rendered command, with the folders of here."""
    container = container_of(job(rendered(STACK)))
    words = [*container["command"], *container["args"]]
    here = [word.replace(DIRECTORY, str(folder / "model")).replace("/signature", str(folder)) for word in words]
    assert here[0] == PROGRAM.name
    done = subprocess.run([PROGRAM, *here[1:]], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_right_signature_is_let_through(signed: Path):
    """Of all files, our own manifest apart."""
    assert verify(signed) == (0, "Verification succeeded\n")


def test_what_was_not_signed_fails_with_a_plain_message(signed: Path, keys: dict[str, Path]):
    """A flipped bit, a file too many, one too few, another's key: exit 1, which no retry follows."""
    weights, config = signed / "model" / "model.safetensors", signed / "model" / "config.json"
    content, found = weights.read_bytes(), {}
    weights.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    found["flipped"] = verify(signed)
    weights.write_bytes(content)
    (signed / "model" / "extra.json").write_text("{}")
    found["extra"] = verify(signed)
    (signed / "model" / "extra.json").unlink()
    config.unlink()
    found["missing"] = verify(signed)
    config.write_text("{}")
    (signed / "key.pub").write_bytes(keys["other.pub"].read_bytes())
    found["other key"] = verify(signed)
    assert {name: code for name, (code, _) in found.items()} == dict.fromkeys(found, 1)
    begun = "Verification failed with error: "
    assert {name for name, (_, said) in found.items() if not said.startswith(begun)} == set()
    assert "Hash mismatch for 'model.safetensors'" in found["flipped"][1].replace("\\", "")
    assert "extra.json" in found["extra"][1]
    assert "config.json" in found["missing"][1]
