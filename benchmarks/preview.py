"""How long the offline preview takes, against the least any Pulumi program of its size can take.

The floor is a process that imports the SDK and declares 100 Deployments under mocks. Both are whole processes, taken
alternately, and compared by their medians; the exit code says whether the preview stays below its limit.
"""

import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 5
# Preview of prod (65 objects, planned, rendered and printed) in units of the floor.
LIMIT = 2.0
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


def seconds(*command: str) -> float:
    """Wall-clock seconds of one process; raises CalledProcessError when it fails."""
    start = perf_counter()
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True, capture_output=True)  # noqa: S603 - our own
    return perf_counter() - start


def main() -> int:
    """Measure, print, and return 0 when the ratio is below its limit."""
    floors, previews = [], []
    for _ in range(ROUNDS):
        floors.append(seconds("-c", FLOOR))
        previews.append(seconds("-m", "preview", "--stack", "prod"))
    ratio = median(previews) / median(floors)
    print(f"floor: 100 Deployments under mocks  {median(floors):.2f} s")
    print(f"python -m preview --stack prod      {median(previews):.2f} s")
    print(f"ratio {ratio:.2f}, limit {LIMIT:.2f}")
    return 0 if ratio <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
