"""The table of fields: whatever is not in it is refused by its path, and the documentation has the same one.

Does not prove that what it calls idle has no effect on a cluster: that is judged by a reader.
"""

import re
from collections.abc import Iterator

from hypothesis import assume, given
from hypothesis import strategies as st

from tests.harness import ROOT
from tests.unit.small_stack import properties
from tests.unit.workshop.local.pods import config_map, container, deployment, job, refusals, service, workload
from workshop.local.unsupported import ENVELOPE, LEAVE_OUT, SHAPES, Shape

PORTS = [{"name": "http", "containerPort": 8000, "protocol": "TCP"}]
WEB = {"httpGet": {"path": "/", "port": "http", "httpHeaders": [{"name": "A", "value": "b"}]}}
# Every row of the table is in one of these.
WHOLE = (
    deployment(
        container(
            env=[{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
            ports=PORTS,
            resources={"limits": {"memory": "1Gi"}},
            livenessProbe={"tcpSocket": {"port": 8000}},
            readinessProbe=WEB,
            lifecycle={"preStop": {"sleep": {"seconds": 1}}},
            volumeMounts=[{"mountPath": f"/{name}", "name": name} for name in "abc"],
        ),
        pod={
            "initContainers": [container(name="first")],
            "volumes": [
                {"name": "a", "configMap": {"name": "c"}},
                {"name": "b", "emptyDir": {}},
                {"name": "c", "persistentVolumeClaim": {"claimName": "p"}},
            ],
        },
    ),
    workload("StatefulSet", container()),
    job(container(), podFailurePolicy={"rules": [{"action": "FailJob", "onExitCodes": {"values": [2]}}]}),
    service(),
    config_map("c", a="1"),
    {"kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "v"}},
    {"kind": "PersistentVolumeClaim", "metadata": {"name": "p"}, "spec": {"accessModes": ["ReadWriteMany"]}},
)


def places(found: dict, shape: str, path: tuple) -> Iterator[tuple[str, tuple]]:
    """(row, keys that lead to it) of every mapping in `found` that the table looks into."""
    yield shape, path
    for name in sorted(SHAPES[shape].holds.keys() & found.keys()):
        inner, value = SHAPES[shape].holds[name], found[name]
        if isinstance(value, list):
            for position, item in enumerate(value):
                yield from places(item, inner, (*path, name, position))
        else:
            yield from places(value, inner, (*path, name))


def rows() -> list[tuple[str, int, tuple]]:
    """(row, which of `WHOLE`, keys) of all of them."""
    found = []
    for number, item in enumerate(WHOLE):
        inside = item["kind"] not in SHAPES
        where = places(item["spec"], f"{item['kind']}.spec", ("spec",)) if inside else places(item, item["kind"], ())
        found += [(shape, number, path) for shape, path in where]
    return found


def added(item: object, path: tuple, name: str, value: object) -> object:
    """A copy of `item` with one more field at `path`."""
    if not path:
        assert isinstance(item, dict)
        return {**item, name: value}
    first, *rest = path
    if isinstance(item, list):
        return [added(inner, tuple(rest), name, value) if at == first else inner for at, inner in enumerate(item)]
    assert isinstance(item, dict)
    return {**item, first: added(item[first], tuple(rest), name, value)}


def test_nothing_is_wrong_with_what_is_in_the_table():
    """And the objects of these tests have every row of it."""
    assert (refusals(*WHOLE), {shape for shape, _, _ in rows()}) == ([], set(SHAPES))


def known(shape: str) -> set[str]:
    """All fields of a row."""
    row = SHAPES[shape]
    return {*row.holds, *row.obeyed, *row.only, *row.idle, *ENVELOPE}


@properties(400)
@given(
    st.sampled_from(rows()),
    st.text("abcdefghijklmnopqrstuvwxyzABCDEF", min_size=1, max_size=20),
    st.sampled_from([True, False, 0, "x", [], {}, ["x"], {"x": "y"}]),
)
def test_a_field_nobody_knows_is_refused_by_its_path(place, name, value):
    """Whatever it is called, whatever it holds, wherever it stands: it is said once, and nothing else is."""
    shape, number, path = place
    assume(name not in known(shape))
    item = added(WHOLE[number], path, name, value)
    assert isinstance(item, dict)
    (said,) = refusals(*WHOLE[:number], item, *WHOLE[number + 1 :])
    where, _, text = said.partition(": ")[2].partition(": ")
    names = [part for part in path if isinstance(part, str)]
    assert re.sub(r"\[[^]]*\]", "", where) == ".".join([*names, name])
    assert text.endswith(f" is not obeyed here; {SHAPES[shape].why.get(name, LEAVE_OUT)}")


@properties(200)
@given(st.sampled_from([(place, name) for place in rows() for name in SHAPES[place[0]].only]))
def test_a_value_nobody_obeys_is_refused_by_its_path(case):
    """Of fields that are obeyed with other values only; with those nothing is wrong."""
    (shape, number, path), name = case
    item, fine = (added(WHOLE[number], path, name, value) for value in ("odd", SHAPES[shape].only[name][0]))
    assert isinstance(item, dict)
    assert isinstance(fine, dict)
    (said,) = refusals(*WHOLE[:number], item, *WHOLE[number + 1 :])
    assert (f'{name}: "odd" is not obeyed here, ' in said, refusals(*WHOLE[:number], fine, *WHOLE[number + 1 :])) == (
        True,
        [],
    )


def listed(shape: Shape) -> tuple[str, str]:
    """(what is obeyed, what is without meaning) of a row, as docs/local.md has it."""
    words = {name: f"`{name}`" for name in (*shape.holds, *shape.obeyed)}
    words |= {
        name: f"`{name}: {'|'.join(str(value).lower() if isinstance(value, bool) else str(value) for value in values)}`"
        for name, values in shape.only.items()
    }
    obeyed = ", ".join(words[name].replace("|", "\\|") for name in sorted(words))
    return obeyed or "–", ", ".join(f"`{name}`" for name in sorted(shape.idle)) or "–"


def test_the_documentation_has_the_same_table():
    """Row by row, in its order."""
    text = (ROOT / "docs" / "local.md").read_text(encoding="utf-8")
    block = text.partition("| of | obeyed | without meaning here |\n|---|---|---|\n")[2].partition("\n\n")[0]
    assert block.splitlines() == [f"| {name} | {' | '.join(listed(shape))} |" for name, shape in SHAPES.items()]
