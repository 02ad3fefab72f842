"""How long previews take, as ratios: `make benchmark`; exit 1 when one is above its limit.

- The offline preview of prod, against the least that any Pulumi program of its size can take: a process that imports
  the SDK and declares 100 Deployments under mocks.
- That of a stack of as many models as are accepted, against the same: what a further model adds is seen, too.
- `pulumi preview` of prod, against a flat program of the same objects; where `pulumi` and its provider are there.

All are whole processes, taken in turns. Judged is processor time, which others on the machine change little; the time
by the clock is shown beside it.
"""

import sys
import tempfile
from pathlib import Path
from statistics import median

import yaml

from benchmarks import engine
from benchmarks.measure import Command, Taken, in_turns, ratio, variables
from preview.rendering.stackfile import PROJECT_FILE
from settings.scalars import MOST_MODELS
from workshop.simcluster.engine import missing

ROOT = Path(__file__).resolve().parent.parent
ROUNDS, ENGINE_ROUNDS = 5, 7
# In units of the floor: 65 objects, planned, rendered and printed; and 850 of them.
PROD_LIMIT, MOST_LIMIT = 1.15, 4.5
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


def main() -> int:
    """Measures, prints, and returns 0 when every ratio is within its limit."""
    python = (sys.executable,)
    with tempfile.TemporaryDirectory() as folder:
        many(Path(folder), MOST_MODELS)
        floor, prod, most = in_turns(
            [
                Command([*python, "-c", FLOOR], ROOT, variables()),
                Command([*python, "-m", "preview", "--stack", "prod"], ROOT, variables()),
                Command([*python, "-m", "preview", "--project", folder, "--stack", "many"], ROOT, variables()),
            ],
            ROUNDS,
        )
    _show("100 Deployments under mocks", floor)
    kept = [
        _judge("python -m preview --stack prod", prod, floor, PROD_LIMIT),
        _judge(f"python -m preview, {MOST_MODELS} models", most, floor, MOST_LIMIT),
    ]
    if why := missing():
        print(f"{'pulumi preview':<32} not measured: {why}")
    else:
        with engine.commands("prod") as pair:
            flat, ours = in_turns(pair, ENGINE_ROUNDS)
        _show("pulumi preview, the same objects", flat)
        kept.append(_judge("pulumi preview, prod", ours, flat, ENGINE_LIMIT))
    return 0 if all(kept) else 1


def _show(name: str, taken: list[Taken], said: str = "") -> None:
    processor_s, clock_s = median(one.processor_s for one in taken), median(one.clock_s for one in taken)
    print(f"{name:<32} {processor_s:5.2f} s of processors, {clock_s:5.2f} s by the clock{said}")


def _judge(name: str, taken: list[Taken], base: list[Taken], limit: float) -> bool:
    """Shows the ratio to `base`, and whether it is within its limit."""
    processor, clock = ratio(taken, base)
    verdict = "" if processor <= limit else ", ABOVE ITS LIMIT"
    _show(name, taken, f"; ratio {processor:.2f} ({clock:.2f} by the clock), limit {limit:.2f}{verdict}")
    return processor <= limit


if __name__ == "__main__":
    sys.exit(main())
