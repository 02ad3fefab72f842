"""Time that previews take, as ratios: `make benchmark`; exit 1 when one is above its limit.

- The offline preview of prod, against the least that any Pulumi program of its size can take: a process that imports
  the SDK and declares 100 Deployments under mocks.
- That of a stack of as many models as are accepted, against the same.
- What a further model adds to it, against its objects alone, declared under the same recorder; and against its half,
  so that no model costs more for others being there.
- `pulumi preview` of prod, against a flat program of the same objects; where `pulumi` and its provider are there.

All are whole processes, taken in turns. Judged is processor time, which others on the machine change little; the time
by the clock is shown beside it.
"""

import os
import sys
import tempfile
from pathlib import Path
from statistics import median

import yaml

from benchmarks import engine
from benchmarks.measure import Command, Taken, in_turns, ratio, variables
from preview.rendering.recorder import RELEASE_TYPE
from preview.rendering.render import render
from preview.rendering.stackfile import PROJECT_FILE, read_project
from settings.scalars import MOST_MODELS
from workshop.simcluster.engine import missing

ROOT = Path(__file__).resolve().parent.parent
ROUNDS, ENGINE_ROUNDS = 5, 7
# In units of the floor: 65 objects, planned, rendered and printed; and 1,650 of them.
PROD_LIMIT, MOST_LIMIT = 1.15, 5.5
# In units of its objects alone, and of half as many models.
MODEL_LIMIT, GROWTH_LIMIT = 1.8, 2.0
# In units of the flat program.
ENGINE_LIMIT = 1.15
FLOOR = """
import pulumi, pulumi_kubernetes as k8s
class Mocks(pulumi.runtime.Mocks):
    def new_resource(self, args): return [args.name, args.inputs]
    def call(self, args): return {}
pulumi.runtime.set_mocks(Mocks())
@pulumi.runtime.test
def declare():
    labels = {"app": "x"}
    for number in range(100):
        container = {"name": "c", "image": "x:1"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        spec = {"replicas": 1, "selector": {"match_labels": labels}, "template": template}
        k8s.apps.v1.Deployment(f"d{number}", spec=spec)
declare()
"""
# Declares what `engine.object_lines` says, collecting no garbage, as the preview does not.
BARE = """import gc
gc.disable()
import pulumi_kubernetes as k8s
from preview.rendering.recorder import run
opts = None
def declare():
    {lines}
run(declare)
"""
# (model, its pool), again and again.
KINDS = (("Qwen/Qwen3-14B", "a10"), ("Qwen/Qwen3-8B", "a10"), ("deepseek-ai/DeepSeek-R1-0528", "h200"))


def many(folder: Path, models: int) -> None:
    """A project of so many models in two pools, each with the one before it as its fallback."""
    main = f"main: {ROOT}\n"
    (folder / PROJECT_FILE).write_text((ROOT / PROJECT_FILE).read_text(encoding="utf-8") + main, encoding="utf-8")
    content = yaml.safe_load((ROOT / "Pulumi.prod.yaml").read_text(encoding="utf-8"))
    content["config"]["llm-stack:gpuPools"] = {
        "a10": {"gpu": "nvidia-a10", "nodes": 10 * models, "gpusPerNode": 2, "pricePerNodeHourUsd": 2.84},
        "h200": {"gpu": "nvidia-h200", "nodes": 2 * models, "gpusPerNode": 8, "pricePerNodeHourUsd": 63.3},
    }
    content["config"]["llm-stack:models"] = {
        f"m{number:03}": {
            "model": KINDS[number % len(KINDS)][0],
            "pool": KINDS[number % len(KINDS)][1],
            "contextTokens": 8192,
            "replicas": {"min": 1, "max": 3},
            "fallbacks": [f"m{number - 1:03}"] if number else [],
        }
        for number in range(models)
    }
    (folder / "Pulumi.many.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


def bare(folder: Path, project: Path) -> None:
    """A module `objects` in `folder` that declares what the stack does, but for charts, of which no model adds any."""
    records = [record for record in render(read_project(project), "many").records if record.type != RELEASE_TYPE]
    lines = engine.object_lines(records)
    (folder / "objects.py").write_text(BARE.format(lines="\n    ".join(lines)), encoding="utf-8")


def main() -> int:
    """Measures, prints, and returns 0 when every ratio is within its limit."""
    python = (sys.executable,)
    with tempfile.TemporaryDirectory() as name:
        previews, objects = [], []
        for models in (MOST_MODELS // 2, MOST_MODELS):
            project, alone = Path(name, f"{models}"), Path(name, f"{models}-objects")
            project.mkdir()
            alone.mkdir()
            many(project, models)
            bare(alone, project)
            preview = [*python, "-m", "preview", "--project", str(project), "--stack", "many"]
            previews.append(Command(preview, ROOT, variables()))
            path = {"PYTHONPATH": f"{alone}{os.pathsep}{ROOT}"}
            objects.append(Command([*python, "-c", "import objects"], ROOT, {**variables(), **path}))
        floor, prod, half, most, *alone = in_turns(
            [
                Command([*python, "-c", FLOOR], ROOT, variables()),
                Command([*python, "-m", "preview", "--stack", "prod"], ROOT, variables()),
                *previews,
                *objects,
            ],
            ROUNDS,
        )
    _show("100 Deployments under mocks", floor)
    _show(f"{MOST_MODELS // 2} models", half)
    within = [
        _judge("python -m preview --stack prod", prod, floor, PROD_LIMIT),
        _judge(f"python -m preview, {MOST_MODELS} models", most, floor, MOST_LIMIT),
        _judge("the same, to half as many", most, half, GROWTH_LIMIT),
        _judge("what the second half adds", _added(half, most), _added(*alone), MODEL_LIMIT),
    ]
    if why := missing():
        print(f"{'pulumi preview':<32} not measured: {why}")
    else:
        with engine.commands("prod") as pair:
            flat, stack_preview = in_turns(pair, ENGINE_ROUNDS)
        _show("pulumi preview, the same objects", flat)
        within.append(_judge("pulumi preview, prod", stack_preview, flat, ENGINE_LIMIT))
    return 0 if all(within) else 1


def _added(less: list[Taken], more: list[Taken]) -> list[Taken]:
    """Time that `more` takes beyond `less`, round by round."""
    pairs = zip(less, more, strict=True)
    return [Taken(many.processor_s - few.processor_s, many.clock_s - few.clock_s) for few, many in pairs]


def _show(name: str, taken: list[Taken], suffix: str = "") -> None:
    processor_s, clock_s = median(sample.processor_s for sample in taken), median(sample.clock_s for sample in taken)
    print(f"{name:<32} {processor_s:5.2f} s of processors, {clock_s:5.2f} s by the clock{suffix}")


def _judge(name: str, taken: list[Taken], base: list[Taken], limit: float) -> bool:
    """Shows the ratio to `base`, and whether it is within its limit."""
    processor, clock = ratio(taken, base)
    verdict = "" if processor <= limit else ", ABOVE ITS LIMIT"
    _show(name, taken, f"; ratio {processor:.2f} ({clock:.2f} by the clock), limit {limit:.2f}{verdict}")
    return processor <= limit


if __name__ == "__main__":
    sys.exit(main())
