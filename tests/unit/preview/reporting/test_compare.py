"""Two sides compared: what the engine would replace, delete, change and add, and how a reviewer reads it.

The rules for replacement are the provider's, copied; only the real engine proves them.
"""

from typing import Any

import pytest

from preview.rendering.quantity import quantity_bytes
from preview.reporting.compare import Action, Thing, compare
from preview.reporting.fields import ABSENT, differences
from preview.reporting.markdown import comparison, refusal
from preview.reporting.sides import Sides
from preview.reporting.wording import minutes, usd, usd_range


def thing(kind: str, name: str = "x", body: dict[str, Any] | None = None, **entry: Any) -> Thing:
    """One object of a side; its name is explicit unless `logicalName` makes it autonamed."""
    full = {"apiVersion": "v1", "kind": kind, "namespace": "ns", "name": name, "logicalName": name, "urn": name} | entry
    return Thing(full, body or {})


def autonamed(kind: str, logical_name: str, body: dict[str, Any]) -> Thing:
    """An object whose name the engine draws."""
    return thing(kind, f"{logical_name}-auto", body, logicalName=logical_name, urn=logical_name)


def changes(before: list[Thing], after: list[Thing]) -> list[tuple[str, str, tuple[str, ...]]]:
    """(action, kind/name, notes) of every change."""
    return [(c.action, f"{c.thing.entry['kind']}/{c.thing.entry['name']}", c.notes) for c in compare(before, after)]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, [("a.b", 1, 2)]),
        ({"a": 1}, {}, [("a", 1, ABSENT)]),
        ({}, {"a": {"b": 1}}, [("a", ABSENT, {"b": 1})]),
        ({"args": ["--a", "--b"]}, {"args": ["--a"]}, [("args", ["--a", "--b"], ["--a"])]),
        (
            {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
            {"env": [{"name": "NEW", "value": "0"}, {"name": "A", "value": "1"}, {"name": "B", "value": "3"}]},
            [("env[NEW]", ABSENT, {"name": "NEW", "value": "0"}), ("env[B].value", "2", "3")],
        ),
        (
            {"rules": [{"alert": "A", "m": 1}, {"alert": "A", "m": 2}, {"alert": "A", "m": 3}]},
            {"rules": [{"alert": "A", "m": 1}, {"alert": "A", "m": 3}]},
            [("rules[1]", {"alert": "A", "m": 2}, ABSENT)],
        ),
        ({"to": [{"p": 1}, {"p": 2}]}, {"to": [{"p": 1}, {"p": 5}]}, [("to[1].p", 2, 5)]),
        (
            {"to": [{"p": 1}, {"p": 2}]},
            {"to": [{"p": 2}, {"p": 1}]},
            [("to", [{"p": 1}, {"p": 2}], [{"p": 2}, {"p": 1}])],
        ),
    ],
)
def test_differences_are_as_few_as_there_are(old, new, expected):
    """A field is one difference, an inserted list entry is one addition, and names beat positions."""
    assert list(differences(old, new)) == expected


def test_actions_and_their_order():
    """Replaced and deleted objects come before changed and added ones."""
    before = [
        thing("Service", "s", {"spec": {"a": 1}}),
        thing("Job", "j", {"spec": {"template": 1}}),
        thing("Pod", "gone"),
    ]
    after = [
        thing("Pod", "new"),
        thing("Service", "s", {"spec": {"a": 2}}),
        thing("Job", "j", {"spec": {"template": 2}}),
    ]
    assert changes(before, after) == [
        (Action.REPLACE, "Job/j", ()),
        (Action.DELETE, "Pod/gone", ()),
        (Action.CHANGE, "Service/s", ()),
        (Action.ADD, "Pod/new", ()),
    ]


@pytest.mark.parametrize(
    ("kind", "path", "action"),
    [
        ("Deployment", "spec.selector.matchLabels", Action.REPLACE),
        ("Deployment", "spec.selectors", Action.CHANGE),
        ("Deployment", "spec.replicas", Action.CHANGE),
        ("ConfigMap", "data.key", Action.REPLACE),
        ("ConfigMap", "metadata.labels", Action.CHANGE),
        ("Secret", "stringData.key", Action.REPLACE),
        ("PersistentVolumeClaim", "spec.storageClassName", Action.REPLACE),
        ("PersistentVolumeClaim", "spec.resources.requests.memory", Action.CHANGE),
        ("Release", "values.a", Action.CHANGE),
        ("Whatever", "metadata.namespace", Action.REPLACE),
    ],
)
def test_replacement_follows_the_provider(kind, path, action):
    """Exactly the fields the provider cannot change in place lead to a replacement."""

    def body(value: int) -> dict[str, Any]:
        nested: Any = value
        for step in reversed(path.split(".")):
            nested = {step: nested}
        return nested

    assert [found for found, _, _ in changes([thing(kind, "x", body(1))], [thing(kind, "x", body(2))])] == [action]


def test_ignored_fields_are_no_change():
    """What the autoscaler owns is not compared."""
    options = {"ignoreChanges": ["spec.replicas"]}
    before, after = (thing("Deployment", "d", {"spec": {"replicas": n}}, options=options) for n in (1, 3))
    assert changes([before], [after]) == []


def test_a_changed_pod_template_restarts_pods():
    """A reviewer sees which changes interrupt running pods."""
    before, after = (thing("Deployment", "d", {"spec": {"template": {"image": n}}}) for n in (1, 2))
    assert changes([before], [after]) == [(Action.CHANGE, "Deployment/d", ("its pods are restarted",))]


def test_who_names_a_replaced_autonamed_object_follows():
    """A new ConfigMap gets a new name, which restarts the pods of whoever mounts it and replaces a Job."""

    def pod(name: str) -> dict[str, Any]:
        return {"spec": {"template": {"volumes": [{"configMap": {"name": name}}]}}}

    def side(data: str) -> list[Thing]:
        return [
            autonamed("ConfigMap", "config", {"metadata": {"name": "config-auto"}, "data": {"a": data}}),
            thing("Deployment", "d", pod("config-auto")),
            autonamed("Job", "j", pod("config-auto")),
            thing("Deployment", "other", pod("config")),
        ]

    path = "`spec.template.volumes[0].configMap.name` follows ConfigMap config-auto in ns, which gets a new name"
    assert changes(side("1"), side("2")) == [
        (
            Action.REPLACE,
            "ConfigMap/config-auto",
            ("the new one is created under a new name before the old one is deleted",),
        ),
        (Action.REPLACE, "Job/j-auto", (path,)),
        (Action.CHANGE, "Deployment/d", ("its pods are restarted", path)),
    ]


def test_losing_a_kept_or_protected_object_is_said():
    """A retained object stays behind, a protected one stops the update."""
    kept = thing("PersistentVolumeClaim", "kept", options={"retainOnDelete": True})
    guarded = thing("PersistentVolumeClaim", "guarded", options={"protect": True})
    found = compare([kept, guarded, thing("Pod", "p")], [])
    assert [(change.notes, change.blocked) for change in found] == [
        (("retained: the object stays in the cluster, Pulumi forgets it",), False),
        (("it is protected, so the update stops here",), True),
        ((), False),
    ]


@pytest.mark.parametrize(
    ("old", "new", "notes"),
    [
        ("720Gi", "1Ti", ()),
        ("1Ti", "720Gi", ("it shrinks from 1Ti to 720Gi, which the API server refuses",)),
        ("720Gi", "720G", ("it shrinks from 720Gi to 720G, which the API server refuses",)),
    ],
)
def test_a_claim_never_shrinks(old, new, notes):
    """A smaller claim is flagged as an update that cannot succeed, a larger one is a change."""
    before, after = (
        thing("PersistentVolumeClaim", "c", {"spec": {"resources": {"requests": {"storage": size}}}})
        for size in (old, new)
    )
    (change,) = compare([before], [after])
    assert (change.action, change.notes, change.blocked) == (Action.CHANGE, notes, bool(notes))


def test_a_kept_claim_cannot_be_replaced():
    """The old claim stays and keeps its name, so there is no room for the new one."""
    options = {"retainOnDelete": True}
    before, after = (
        thing("PersistentVolumeClaim", "c", {"spec": {"storageClassName": n}}, options=options) for n in "ab"
    )
    (change,) = compare([before], [after])
    assert (change.action, change.blocked) == (Action.REPLACE, True)
    assert change.notes == ("the old one is retained and keeps its name, so the new one cannot be created",)


def test_a_moved_object_is_replaced():
    """The same object below another component has another URN, which the engine takes for another resource."""
    before, after = thing("Service", "s", urn="a$b::s"), thing("Service", "s", urn="c$b::s")
    assert changes([before], [after]) == [
        (
            Action.REPLACE,
            "Service/s",
            ("its URN changes: without an alias the engine creates it anew and deletes the old one",),
        )
    ]


def document(models: dict[str, Any], cost: dict[str, Any] | None, **rest: Any) -> dict[str, Any]:
    """A preview document with these models."""
    return {"stack": "prod", "models": models, "cost": cost, "warnings": [], "refused": []} | rest


def model(gpus: int, replicas: tuple[int, int], price: float | None, context: int = 8192) -> dict[str, Any]:
    """A model of a preview document."""
    return {
        "model": "org/model",
        "server": "vllm-x",
        "expected_start_s": 300,
        "cold_start_s": 300,
        "update_gap_s": 0,
        "gpus": gpus,
        "gpu": "nvidia-l4",
        "pool": "p",
        "context_tokens": context,
        "replicas": {"min": replicas[0], "max": replicas[1]},
        "usd_per_hour": price,
    }


def bill(fewest: float, most: float, *unpriced: str) -> dict[str, Any]:
    """The cost of a preview document."""
    return {"usd_per_hour_min": fewest, "usd_per_hour_max": most, "unpriced": list(unpriced)}


@pytest.mark.parametrize(
    ("old", "new", "row"),
    [
        (None, [1.0, 2.0], "| **storage, a month** | | | | **– → $1.00–$2.00** |"),
        ([1.0, 1.0], [1.0, 1.0], "| **storage, a month** | | | | **$1.00** |"),
        ([1.0, 1.0], None, "| **storage, a month** | | | | **$1.00 → –** |"),
        (None, None, None),
    ],
)
def test_what_storage_costs_is_a_row_of_its_own(old, new, row):
    """Beside the total of the nodes, which is per hour; nothing where no price is given, or nobody said."""
    said = {"storage": {"usd_per_month": old}} if old else {}
    before = document({"a": model(1, (1, 1), 0.7)}, bill(0.7, 0.7), **said)
    after = document({"a": model(1, (1, 2), 0.7)}, bill(0.7, 1.4), storage={"usd_per_month": new, "kept": []})
    pages = comparison(Sides(before, after, compare([], [thing("Pod", "p")])))
    rows = [line for page in pages for line in page.splitlines() if line.startswith("| **storage")]
    assert rows == ([row] if row else [])


def test_markdown_of_a_change():
    """Losses come first, every change has its path and both values, and the bill shows both sides."""
    before = document({"a": model(1, (1, 2), 0.7), "b": model(0, (1, 1), None)}, bill(0.7, 1.4, "b"), warnings=["old"])
    after = document({"a": model(2, (1, 2), 1.4, 16384)}, bill(1.4, 2.8), warnings=["old", "mind the gap"])
    deployment = [
        thing(
            "Deployment",
            "a",
            {"spec": {"template": {"args": ["--x", f"--n={n}"], "f": f"one\nline {n}\n", "s": "y" * 150 + str(n)}}},
            component="VllmServer/a",
        )
        for n in (1, 2)
    ]
    found = compare([deployment[0], thing("Service", "b")], [deployment[1]])
    assert comparison(Sides(before, after, found))[0] == (
        "### prod: 1 deleted, 1 changed\n"
        "\n"
        "**Who will notice, and for how long**\n"
        "\n"
        "- ⚠ **users of `b`**: the model is gone, its requests are refused\n"
        "\n"
        "| model | runs on | context | replicas | $/h |\n"
        "|---|---|---|---|---|\n"
        "| a | 1 × nvidia-l4 → 2 × nvidia-l4 | 8,192 → 16,384 | 1–2 | $0.70–$1.40 → $1.40–$2.80 |\n"
        "| b | CPU pool p → – | 8,192 → – | 1 → – | not known → – |\n"
        "| **total** | | | | **$0.70–$1.40 without b → $1.40–$2.80** |\n"
        "\n"
        "**New warnings**\n"
        "\n"
        "- mind the gap\n"
        "\n"
        "**Deleted**\n"
        "\n"
        "- `Service b in ns`\n"
        "\n"
        "**Changed in place**\n"
        "\n"
        "- `Deployment a in ns` (VllmServer/a)\n"
        "  - its pods are restarted\n"
        "  - `spec.template.args`: −`--n=1` +`--n=2`\n"
        "  - `spec.template.f`: −`line 1` +`line 2`\n"
        f"  - `spec.template.s`: `{'y' * 99}…` → `{'y' * 99}…`\n"
    )


def test_markdown_of_a_new_stack_and_of_none():
    """A new stack shows what it brings and costs; a stack without changes is one line."""
    after = document({"a": model(1, (1, 1), 0.7)}, bill(0.7, 0.7))
    (page,) = comparison(Sides(None, after, compare([], [thing("Pod", "p")])))
    assert page == (
        "### prod (new stack): 1 added\n\n**Who will notice: nobody who uses it**\n\n"
        "| model | runs on | context | replicas | $/h |\n|---|---|---|---|---|\n"
        "| a | 1 × nvidia-l4 | 8,192 | 1 | $0.70 |\n| **total** | | | | **$0.70** |\n\n"
        "**Added**\n\n- `Pod p in ns`\n"
    )
    assert comparison(Sides(after, after, ())) == ["### prod: no changes\n"]


def test_markdown_comes_in_versions():
    """The first version has every field of every object, the last one neither many objects nor any field."""
    pairs = [
        [thing("Service", f"s{n}", {f"field{m}": side * 500 for m in range(30)}) for n in range(200)] for side in "ab"
    ]
    pages = comparison(Sides(document({}, None), document({}, None), compare(pairs[0], pairs[1])))
    assert [(page.count("`field"), page.count("- `Service"), "160 more objects" in page) for page in pages] == [
        (6000, 200, False),
        (2400, 200, False),
        (480, 40, True),
        (120, 40, True),
        (0, 40, True),
    ]
    assert pages[2].count("  - … and 18 more fields\n") == 40


def test_markdown_of_a_refusal():
    """A refused side is a list of its reasons."""
    text = refusal(document({}, None, refused=[{"path": "models.a", "message": "no"}]), "this change")
    assert text == "### prod: refused by this change\n\n- `models.a`: no\n"


@pytest.mark.parametrize(
    ("text", "expected"), [("1Gi", 2**30), ("1.5Ti", 1.5 * 2**40), ("7", 7), ("3M", 3e6), ("x", None), (None, None)]
)
def test_quantities(text, expected):
    """Kubernetes quantities are bytes, binary and decimal; anything else is none."""
    assert quantity_bytes(text) == expected


def test_wording_of_numbers():
    """Small prices keep their digits, ranges collapse when they are none, times have one unit."""
    assert [usd(value) for value in (0, 0.00412, 0.7, 63.3, 1234.5)] == [
        "$0",
        "$0.0041",
        "$0.70",
        "$63.30",
        "$1,234.50",
    ]
    assert [usd_range(1, 1), usd_range(0, 2)] == ["$1.00", "$0–$2.00"]
    assert [minutes(value) for value in (45, 119, 120, 7199, 7200)] == ["45 s", "119 s", "2 min", "120 min", "2.0 h"]


def gpu_server(name: str, pool: str = "a", **options: Any) -> Thing:
    """A Deployment that asks for a GPU of a pool."""
    limits = {"nvidia.com/gpu": 1}
    pod = {"containers": [{"resources": {"limits": limits}}], "nodeSelector": {"pool": pool}}
    return thing("Deployment", name, {"spec": {"template": {"spec": pod}}}, options=options)


@pytest.mark.parametrize(
    ("new", "note"),
    [
        (gpu_server("new"), "starts before old is deleted: where no GPUs are spare it waits for them in vain"),
        (gpu_server("new", deleteBeforeReplace=True), "starts after what it replaces has gone: old"),
        (gpu_server("new", pool="b"), ""),
        (thing("Deployment", "new", {"spec": {"template": {"spec": {"containers": [{}]}}}}), ""),
    ],
)
def test_a_server_that_may_wait_for_anothers_gpus_is_said(new: Thing, note: str):
    """The engine deletes last; on a full pool the new server would wait until the update fails."""
    (added,) = [change for change in compare([gpu_server("old")], [new]) if change.action is Action.ADD]
    assert [text[: len(note)] for text in added.notes] == ([note] if note else [])


@pytest.mark.parametrize(("place", "hint"), [("ns", True), ("elsewhere", False)])
def test_the_way_out_of_an_update_that_waits_is_said(place: str, hint: bool):
    """The command that frees the GPUs, for who waits already; `replaces` only where it can help."""
    old = gpu_server("old")
    former = Thing({**old.entry, "namespace": place}, old.body)
    new = gpu_server("new")
    (note,) = next(
        change.notes
        for change in compare([former], [Thing({**new.entry, "namespace": "ns"}, new.body)])
        if change.action is Action.ADD
    )
    assert ("`replaces` in its model" in note) is hint
    assert note.endswith(f"An update that waits already goes on after `kubectl -n {place} delete deployment old`")
