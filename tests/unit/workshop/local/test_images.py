"""The table of what stands for an image. Does not prove that the programs in it exist: tests/local runs them."""

import os
from pathlib import Path

import pytest

from workshop.local import images
from workshop.local.blueprint import locked
from workshop.local.images import PYTHON, STANDS, stand_for, tag_of
from workshop.local.toolchain import lock_text


@pytest.mark.parametrize(
    ("reference", "image"),
    [
        ("docker.io/vllm/vllm-openai-cpu:v0.32.0", "vllm-openai-cpu"),
        ("vllm-openai-cpu", "vllm-openai-cpu"),
        ("reg.corp:5000/hub/vllm/vllm-openai-cpu@sha256:abc", "vllm-openai-cpu"),
        ("reg.corp:5000/litellm-non_root:v1.109.1@sha256:abc", "litellm-non_root"),
        ("redis:8.10.1-trixie", "redis"),
        # CUDA and others have no row, nor has what only begins or ends alike
        ("docker.io/vllm/vllm-openai:v0.33.0", None),
        ("my-redis:1", None),
        ("redis-stack:1", None),
        ("redis/insight:1", None),
        ("vllm-openai-cpu:5000/other", None),
        ("", None),
    ],
)
def test_a_row_is_found_by_the_name_of_the_image(reference, image):
    """In whatever registry or mirror, by tag, digest, both or neither."""
    found = stand_for(reference)
    assert (found and found.image) == image


@pytest.mark.parametrize(
    ("reference", "tag"),
    [
        ("vllm-openai-cpu:v0.32.0", "0.32.0"),
        ("reg.corp:5000/vllm-openai-cpu:v0.32.0@sha256:abc", "0.32.0"),
        ("redis:8.10.1-trixie", "8.10.1-trixie"),
        ("reg.corp:5000/redis", ""),
        ("redis@sha256:abc", ""),
    ],
)
def test_a_tag_is_read_without_its_v(reference, tag):
    """As a version of PyPI is written; the port of a registry is no tag."""
    assert tag_of(reference) == tag


def test_the_table_is_whole():
    """Programs, options and variables of every row, as they are looked for in rendered pods."""
    shown = {
        stand.image: (stand.entrypoint, stand.positional, stand.port_options, stand.port_env, stand.service_env)
        for stand in STANDS
    }
    assert shown == {
        "vllm-openai-cpu": (
            (PYTHON, "-m", "vllm.entrypoints.openai.api_server"), "--model", ("--port",), (), (),
        ),
        "litellm-non_root": (
            (PYTHON, "{venv}/bin/litellm"), None, ("--port",), ("GATEWAY_METRICS_PORT",),
            (("REDIS_HOST", "REDIS_PORT"),),
        ),
        "redis": (("redis-server",), None, (), (), ()),
        "postgres": (("postgres",), None, (), ("PGPORT",), ()),
    }  # fmt: skip


def test_programs_of_this_machine_have_something_that_tells_them_their_port():
    """Each is a script that can be run, beside the table."""
    folder = Path(images.__file__).with_name("programs")
    named = {program for stand in STANDS for program in stand.programs}
    assert named == {file.name for file in folder.iterdir()}
    assert [file.name for file in folder.iterdir() if not os.access(file, os.X_OK)] == []


def test_every_package_of_the_table_is_locked():
    """A row that names one can be compared with the version that is installed."""
    packages = {stand.package for stand in STANDS if stand.package}
    assert packages <= set(locked(lock_text()))
