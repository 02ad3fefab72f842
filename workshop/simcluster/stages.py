"""How simulated nodes and pods behave: kwok Stages, made from a stack's plan. Pure functions.

A pod goes the way a kubelet would take it: Secrets and ConfigMaps (`references.py`), init containers, start, startup
probe, ready; Jobs end; what crashes backs off and starts again. How long each step takes comes from the plan, divided
by the time scale. A pod whose startup probe gives up before the load is over is killed, as it would be.

Faults are annotations on a pod, `simcluster.llm-stack.io/fault`: `crash` ends its container again and again, `slow:N`
makes its load take N times as long. A lost node is one whose kubelet falls silent: see `simcluster.faults`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from planning.plan import Plan
from workshop.simcluster.references import FOUND, REFERS

Stage = dict[str, Any]
FAULT = "simcluster.llm-stack.io/fault"
# Seconds of the plan that pass in one second of the simulation: ten minutes of loading take one.
TIME_SCALE = 600
# Start of a LiteLLM worker until it is ready; 21–31 s were measured on two quiet cores. Anything else starts in five.
START_S = {"litellm": 30.0}
OTHER_START_S = 5.0
OTHER_RUN_S = 30.0
# A crashed container waits 10 s, then twice as long each time, at most five minutes: the kubelet's own back-off.
BACKOFF_S, LONGEST_BACKOFF_S = 10, 300
# What a kubelet does at once still takes a moment; a crash loop takes a few, or it would keep this machine busy.
LEAST_MS, LEAST_BACKOFF_MS = 50, 300


@dataclass(frozen=True)
class Behaviour:
    """How long things take, in seconds of the plan.

    `prewarm_s` and `load_s` by `app.kubernetes.io/instance` of a server, `download_s` by the claim a Job fills.
    """

    prewarm_s: Mapping[str, float] = field(default_factory=dict)
    load_s: Mapping[str, float] = field(default_factory=dict)
    download_s: Mapping[str, float] = field(default_factory=dict)
    scale: float = TIME_SCALE


def behaviour_of(plan: Plan, scale: float = TIME_SCALE) -> Behaviour:
    """The behaviour a plan expects of its pods when nothing goes wrong."""
    return Behaviour(
        prewarm_s={server.name: server.timing.prewarm_s for server in plan.servers},
        load_s={server.name: server.timing.expected_start_s for server in plan.servers},
        download_s={item.claim_name: item.fetch.download_s for item in plan.weights.checkpoints if item.fetch},
        scale=scale,
    )


def stages(behaviour: Behaviour) -> list[Stage]:
    """All stages of nodes and pods; at most one of them fits any pod at any time."""
    return [_node_ready(), *_pod_stages(behaviour)]


# ---- jq: expressions over one pod ------------------------------------------------------------------------------------

ALIVE = "(.metadata.deletionTimestamp | not)"
STARTED = "(.status.podIP != null)"
IN_INIT = "([.status.initContainerStatuses[]? | select(.state.running)] | length > 0)"
LOADING = "([.status.containerStatuses[]? | select(.state.running and (.started | not))] | length > 0)"
READY = '([.status.conditions[]? | select(.type == "Ready" and .status == "True")] | length > 0)'
BACKING_OFF = '([.status.containerStatuses[]? | select(.state.waiting.reason == "CrashLoopBackOff")] | length > 0)'
OF_A_JOB = '([.metadata.ownerReferences[]? | select(.kind == "Job")] | length > 0)'
ENDED = '(.status.phase == "Succeeded" or .status.phase == "Failed")'
FAULT_OF = f'(.metadata.annotations["{FAULT}"] // "")'
CRASHES = f'({FAULT_OF} == "crash")'
SLOWNESS = f'(if ({FAULT_OF} | startswith("slow:")) then ({FAULT_OF} | ltrimstr("slow:") | tonumber) else 1 end)'
# Seconds until the kubelet gives a loading container up: the startup probe, or without one the liveness probe.
PATIENCE_S = (
    "([.spec.containers[] | (.startupProbe // .livenessProbe) | select(. != null)"
    " | (.initialDelaySeconds // 0) + (.failureThreshold // 3) * (.periodSeconds // 10)] | min // 1000000000)"
)
RESTARTS = "([.status.containerStatuses[]?.restartCount] | max // 0)"


def _table(values: Mapping[str, float], key: str, otherwise: str) -> str:
    """The entry of a table that `key`, an expression, names."""
    return f'(({json.dumps(dict(values))})[{key} // ""] // {otherwise})'


def load_expression(behaviour: Behaviour) -> str:
    """Seconds of the plan a pod needs from the start of its container until it is ready."""
    by_app = _table(START_S, '.metadata.labels["app.kubernetes.io/name"]', str(OTHER_START_S))
    by_server = _table(behaviour.load_s, '.metadata.labels["app.kubernetes.io/instance"]', by_app)
    return f"({by_server} * {SLOWNESS})"


def _prewarm(behaviour: Behaviour) -> str:
    return _table(behaviour.prewarm_s, '.metadata.labels["app.kubernetes.io/instance"]', "1")


def _run(behaviour: Behaviour) -> str:
    claims = "([.spec.volumes[]?.persistentVolumeClaim.claimName | select(. != null)] | first)"
    return _table(behaviour.download_s, claims, str(OTHER_RUN_S))


def _backoff() -> str:
    return f"([{BACKOFF_S} * pow(2; ([{RESTARTS}, 8] | min) - 1), {LONGEST_BACKOFF_S}] | min)"


# ---- stages ----------------------------------------------------------------------------------------------------------


def _pod_stages(behaviour: Behaviour) -> Sequence[Stage]:
    load = load_expression(behaviour)
    at_work = f"{ALIVE} and {STARTED} and ({ENDED} | not)"
    in_time = f"({load} < {PATIENCE_S})"
    return [
        _pod(
            "created",
            f"{ALIVE} and ({STARTED} | not) and .spec.nodeName != null and (({REFERS} | not) or {FOUND})",
            None,
            behaviour,
            _CREATED,
        ),
        _pod("initialised", f"{at_work} and {IN_INIT}", _prewarm(behaviour), behaviour, _INITIALISED),
        _pod("ready", f"{at_work} and {LOADING} and {in_time} and ({CRASHES} | not)", load, behaviour, _READY),
        _pod(
            "killed-by-probe",
            f"{at_work} and {LOADING} and ({in_time} | not) and ({CRASHES} | not)",
            PATIENCE_S,
            behaviour,
            _KILLED,
        ),
        _pod(
            "crashed-loading", f"{at_work} and {LOADING} and {CRASHES} and ({OF_A_JOB} | not)", "5", behaviour, _KILLED
        ),
        _pod("crashed", f"{at_work} and {READY} and {CRASHES} and ({OF_A_JOB} | not)", None, behaviour, _KILLED),
        _pod("restarted", f"{at_work} and {BACKING_OFF}", _backoff(), behaviour, _RESTARTED, LEAST_BACKOFF_MS),
        _pod("failed", f"{at_work} and {OF_A_JOB} and {CRASHES} and ({LOADING} or {READY})", None, behaviour, _FAILED),
        _pod(
            "completed",
            f"{at_work} and {READY} and {OF_A_JOB} and ({CRASHES} | not)",
            _run(behaviour),
            behaviour,
            _COMPLETED,
        ),
        _deleted(),
    ]


def _pod(
    name: str, when: str, after_s: str | None, behaviour: Behaviour, status: str, least_ms: int = LEAST_MS
) -> Stage:
    delay: dict[str, Any] = {"durationMilliseconds": least_ms}
    if after_s is not None:
        delay["durationFrom"] = {"jq": {"expression": _milliseconds(after_s, behaviour.scale, least_ms)}}
    patch = {"subresource": "status", "root": "status", "type": "strategic", "template": status}
    return _stage(f"pod-{name}", "Pod", when, {"delay": delay, "steps": [{"patch": patch}]})


def _milliseconds(seconds: str, scale: float, least_ms: int) -> str:
    """An expression for a duration as Go reads it; never less than a moment."""
    return f'(([{seconds} / {scale} * 1000, {least_ms}] | max | floor | tostring) + "ms")'


def _deleted() -> Stage:
    gone = "(.metadata.deletionTimestamp != null and ((.metadata.finalizers // []) | length == 0))"
    return _stage(
        "pod-deleted", "Pod", gone, {"delay": {"durationMilliseconds": LEAST_MS}, "steps": [{"delete": True}]}
    )


def _node_ready() -> Stage:
    patch = {"subresource": "status", "root": "status", "type": "strategic", "template": _NODE_READY}
    return _stage("node-ready", "Node", f"({READY} | not)", {"steps": [{"patch": patch}]})


def _stage(name: str, kind: str, when: str, rest: Mapping[str, Any]) -> Stage:
    selector = {"matchExpressions": [{"jq": {"key": when, "operator": "In", "values": ["true"]}}]}
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {"resourceRef": {"apiGroup": "v1", "kind": kind}, "selector": selector, **rest},
    }


# ---- status templates: Go templates over the pod or node, giving YAML ------------------------------------------------


def _condition(kind: str, status: str) -> str:
    return f'- {{type: {kind}, status: "{status}", lastProbeTime: null, lastTransitionTime: {{{{ Now | Quote }}}}}}\n'


def _containers(state: str, *, ready: bool, started: bool, restart: bool = False, last: str = "") -> str:
    """`containerStatuses` with every container in one state; `restart` counts one more start."""
    plus = "1" if restart else "0"
    lines = f"""containerStatuses:
{{{{ $pod := . }}}}
{{{{ range $index, $container := .spec.containers }}}}
{{{{ $restarts := 0 }}}}
{{{{ range $pod.status.containerStatuses }}}}
{{{{ if eq .name $container.name }}}}{{{{ $restarts = .restartCount }}}}{{{{ end }}}}
{{{{ end }}}}
- name: {{{{ $container.name | Quote }}}}
  image: {{{{ $container.image | Quote }}}}
  imageID: ""
  ready: {str(ready).lower()}
  started: {str(started).lower()}
  restartCount: {{{{ add $restarts {plus} }}}}
  state: {state}
"""
    return lines + (f"  lastState: {last}\n" if last else "") + "{{ end }}\n"


_NOW = "{{ Now | Quote }}"
_RUNNING = f"{{running: {{startedAt: {_NOW}}}}}"
_WAITING = "{waiting: {reason: PodInitializing}}"
_BACKOFF = "{waiting: {reason: CrashLoopBackOff}}"


def _finished(code: int, reason: str) -> str:
    """A container that has ended."""
    return f"{{terminated: {{exitCode: {code}, reason: {reason}, startedAt: {_NOW}, finishedAt: {_NOW}}}}}"


_OVER = _finished(137, "Error")


def _conditions(*, ready: str) -> str:
    return "conditions:\n" + _condition("Ready", ready) + _condition("ContainersReady", ready)


_CREATED = (
    "phase: Pending\n"
    "startTime: {{ Now | Quote }}\n"
    "hostIP: {{ NodeIPWith .spec.nodeName | Quote }}\n"
    'podIP: {{ PodIPWith .spec.nodeName ( or .spec.hostNetwork false ) ( or .metadata.uid "" )'
    ' ( or .metadata.name "" ) ( or .metadata.namespace "" ) | Quote }}\n'
    + _conditions(ready="False")
    + "{{ if .spec.initContainers }}\n"
    + _condition("Initialized", "False")
    + "initContainerStatuses:\n"
    "{{ range .spec.initContainers }}\n"
    "- name: {{ .name | Quote }}\n"
    "  image: {{ .image | Quote }}\n"
    '  imageID: ""\n'
    "  ready: false\n"
    "  restartCount: 0\n"
    f"  state: {_RUNNING}\n"
    "{{ end }}\n"
    + _containers(_WAITING, ready=False, started=False)
    + "{{ else }}\n"
    + _condition("Initialized", "True")
    + _containers(_RUNNING, ready=False, started=False)
    + "{{ end }}\n"
)
_INITIALISED = (
    "phase: Running\n"
    "conditions:\n" + _condition("Initialized", "True") + "initContainerStatuses:\n"
    "{{ range .spec.initContainers }}\n"
    "- name: {{ .name | Quote }}\n"
    "  image: {{ .image | Quote }}\n"
    '  imageID: ""\n'
    "  ready: true\n"
    "  restartCount: 0\n"
    f"  state: {_finished(0, 'Completed')}\n"
    "{{ end }}\n" + _containers(_RUNNING, ready=False, started=False)
)
_READY = "phase: Running\n" + _conditions(ready="True") + _containers(_RUNNING, ready=True, started=True)
_KILLED = (
    "phase: Running\n"
    + _conditions(ready="False")
    + _containers(_BACKOFF, ready=False, started=False, restart=True, last=_OVER)
)
_RESTARTED = "phase: Running\n" + _containers(_RUNNING, ready=False, started=False, last=_OVER)
_COMPLETED = (
    "phase: Succeeded\n"
    + _conditions(ready="False")
    + _containers(_finished(0, "Completed"), ready=False, started=False)
)
_FAILED = (
    "phase: Failed\n" + _conditions(ready="False") + _containers(_finished(1, "Error"), ready=False, started=False)
)
_NODE_READY = (
    "conditions:\n"
    "{{ range NodeConditions }}\n"
    "- type: {{ .type | Quote }}\n"
    "  status: {{ .status | Quote }}\n"
    "  reason: {{ .reason | Quote }}\n"
    "  message: {{ .message | Quote }}\n"
    "  lastHeartbeatTime: {{ Now | Quote }}\n"
    "  lastTransitionTime: {{ Now | Quote }}\n"
    "{{ end }}\n"
    "addresses:\n"
    "- {type: InternalIP, address: {{ NodeIP | Quote }}}\n"
    "- {type: Hostname, address: {{ .metadata.name | Quote }}}\n"
    "phase: Running\n"
)
