"""A stack with a Postgres and a Redis of its own on this machine: keys that were made are there after the next `up`.

Does not prove the image of Postgres, nor Prisma's own engines: npm's WebAssembly and a script stand for them.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local.runs import Run, project
from workshop.local import database
from workshop.local.chat import Endpoint, chat, request

pytestmark = [
    pytest.mark.local,
    pytest.mark.skipif(
        bool(database.problems()) or database.program("initdb") is None,
        reason="no Postgres, Node or npm here: on Debian and Ubuntu, apt-get install postgresql npm",
    ),
]
MODEL = "smollm2-135m"
STACK = f"""\
config:
  pulumi:disable-default-providers: ["kubernetes"]
  llm-stack:cluster: {{context: local, identifier: local}}
  llm-stack:gpuPools:
    this-machine: {{gpu: none, nodes: 1, cpusPerNode: 4, memoryGibPerNode: 8, pricePerNodeHourUsd: 1}}
  llm-stack:weights: {{kind: existingClaim, claimName: local-weights}}
  llm-stack:models:
    {MODEL}:
      model: HuggingFaceTB/SmolLM2-135M-Instruct
      pool: this-machine
      contextTokens: 2048
      args: [--enforce-eager, --dtype=float32]
  llm-stack:gateway:
    replicas: 1
    existingSecret: llm-keys
    redis: {{kind: bundled}}
    database: {{kind: bundled, gib: 1}}
  llm-stack:gpuOperator: {{install: false, verifyNodes: false}}
  llm-stack:autoscaling: {{install: false}}
  llm-stack:observability: {{install: false}}
  llm-stack:images: {{overrides: {{vllm-cpu: {{version: v0.32.0}}}}}}
"""


@pytest.fixture(scope="module")
def keeping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The stack, up."""
    run = Run(project(tmp_path_factory.mktemp("database"), keeping=STACK), "keeping").up()
    yield run
    run.call("down", "--now")


def admin(run: Run, path: str, body: dict | None = None) -> dict:
    """An answer of the gateway to its master key."""
    status, text = request(run.gateway(), "POST" if body else "GET", path, body)
    assert status == 200, text
    return json.loads(text)


def test_a_key_that_was_made_opens_the_gateway_after_the_next_up(keeping: Run):
    """Though the master key and both passwords of Postgres are others by then: they are drawn for each run."""
    key = admin(keeping, "/key/generate", {"key_alias": "kept", "models": [MODEL]})["key"]
    own = Endpoint(keeping.gateway().port, key)
    assert chat(own, MODEL, "Hello", max_tokens=1).status == 200
    before = (keeping.folder.keys / "llm-keys" / "database-password").read_text("utf-8")
    assert keeping.call("down", "--now")[0] == 0
    keeping.up()
    assert (keeping.folder.keys / "llm-keys" / "database-password").read_text("utf-8") != before
    again = Endpoint(keeping.gateway().port, key)
    assert chat(again, MODEL, "Hello", max_tokens=1).status == 200
    assert chat(Endpoint(again.port, "sk-made-up-0123456789"), MODEL, "Hello").status == 401


def test_postgres_is_run_as_rendered(keeping: Run):
    """By its own script, as one pod of a StatefulSet, whose folder is no other stack's."""
    pods = [pod["name"] for pod in keeping.status()["pods"]]
    assert "litellm-postgres-0" in pods
    data: Path = keeping.folder.data("litellm-postgres")
    assert (data / "data" / "PG_VERSION").is_file()
