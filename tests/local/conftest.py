"""Every test of this tier needs `.venv-local`; without it they are skipped and say so."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import ROOT
from tests.local.runs import Run, project
from workshop.local.toolchain import VENV, is_ready


@pytest.fixture(scope="session", autouse=True)
def real_programs() -> None:
    """Both real programs are there."""
    if not is_ready(VENV):
        pytest.skip("no vLLM and LiteLLM here, nothing was run: run `make local-test`")


@pytest.fixture(scope="module")
def local_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """`Pulumi.local.yaml`, up; taken down at once at the end, whatever happened."""
    folder: Path = tmp_path_factory.mktemp("local")
    text = (ROOT / "Pulumi.local.yaml").read_text(encoding="utf-8")
    run = Run(project(folder, local=text), "local")
    try:
        yield run.up()
    finally:
        run.call("down", "--now")
