"""Behaviour of simulated nodes and pods: kwok Stages, made from a stack's plan and stages.yaml. Pure functions."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from planning.plan import Plan
from planning.plan.weights import OwnClaim
from workshop.simcluster.bodies import filled
from workshop.simcluster.references import READY_TO_START

Stage = dict[str, Any]
TABLE = Path(__file__).with_name("stages.yaml")
FAULT = "simcluster.llm-stack.io/fault"
# Seconds of the plan that pass in one second of the simulation: ten minutes of loading take one.
TIME_SCALE = 600
# Start of a LiteLLM worker until it is ready; 21–31 s were measured on two quiet cores. Anything else starts in five.
START_S = {"litellm": 30.0}
OTHER_START_S, OTHER_RUN_S = 5.0, 30.0
APP, SERVER = (f'.metadata.labels["app.kubernetes.io/{label}"]' for label in ("name", "instance"))
CLAIM = "([.spec.volumes[]?.persistentVolumeClaim.claimName | select(. != null)] | first)"


@dataclass(frozen=True)
class Behaviour:
    """Seconds of the plan that things take: of a server by `app.kubernetes.io/instance`, a download by its claim."""

    prewarm_s: Mapping[str, float] = field(default_factory=dict)
    load_s: Mapping[str, float] = field(default_factory=dict)
    download_s: Mapping[str, float] = field(default_factory=dict)
    scale: float = TIME_SCALE


def behaviour_of(plan: Plan, scale: float = TIME_SCALE) -> Behaviour:
    """The behaviour a plan expects of its pods when nothing goes wrong."""
    return Behaviour(
        prewarm_s={server.name: server.timing.prewarm_s for server in plan.servers},
        load_s={server.name: server.timing.expected_start_s for server in plan.servers},
        download_s={
            checkpoint.place.name: checkpoint.place.fetch.download_s
            for checkpoint in plan.weights.checkpoints
            if isinstance(checkpoint.place, OwnClaim)
        },
        scale=scale,
    )


def stages(behaviour: Behaviour) -> list[Stage]:
    """All stages of nodes and pods; at most one of them fits any pod at any time."""
    table = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    words = {
        **table["words"],
        "fault_annotation": FAULT,
        "ready_to_start": READY_TO_START,
        "prewarm_s": _entry(behaviour.prewarm_s, SERVER, "1"),
        "load_s": _entry(behaviour.load_s, SERVER, _entry(START_S, APP, str(OTHER_START_S))),
        "run_s": _entry(behaviour.download_s, CLAIM, str(OTHER_RUN_S)),
    }
    return [_stage({**words, **stage}, behaviour.scale) for stage in table["stages"]]


def _entry(values: Mapping[str, float], key: str, otherwise: str) -> str:
    """A jq expression: the entry of a table that `key`, an expression, names."""
    return f'(({json.dumps(dict(values))})[{key} // ""] // {otherwise})'


def _stage(words: Mapping[str, Any], scale: float) -> Stage:
    step: Stage = {"delete": True}
    if "delete" not in words:
        patch = {"subresource": "status", "root": "status", "type": "strategic"}
        step = {"patch": {**patch, "template": filled(words["status"], words)}}
    fits = {"key": filled(words["when"], words), "operator": "In", "values": ["true"]}
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": words["name"]},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": words["kind"]},
            "selector": {"matchExpressions": [{"jq": fits}]},
            **_delay(filled(words["after"], words), words["least_ms"], scale),
            "steps": [step],
        },
    }


def _delay(seconds: str, least_ms: int, scale: float) -> Stage:
    """Delay of a stage: what an expression for seconds of the plan gives, and never less than a moment."""
    delay: Stage = {"durationMilliseconds": least_ms}
    if seconds:
        # as Go reads a duration
        expression = f'(([{seconds} / {scale} * 1000, {least_ms}] | max | floor | tostring) + "ms")'
        delay["durationFrom"] = {"jq": {"expression": expression}}
    return {"delay": delay} if least_ms else {}
