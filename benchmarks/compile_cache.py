"""The start of a server whose compile cache is kept, against its first one: `make benchmark`; exit 1 above the limit.

The real vLLM, its CPU build, with the rendered arguments and scripts and a tiny model; compared is the time to its
engine. A ratio of one machine and one model; kernels of GPUs take longer to compile.
"""

import sys
import tempfile
from pathlib import Path

from tests.local.compiling import PYTHON, start_twice, tiny_model

# Of the second start's time to its engine to the first one's.
LIMIT = 2 / 3


def main() -> int:
    """Measures, prints, and returns 0 when the ratio is within its limit, or there is no vLLM to measure."""
    if not Path(PYTHON).exists():
        print("compile cache                    not measured: .venv-local is not there; make vllm-test makes it")
        return 0
    with tempfile.TemporaryDirectory() as name:
        cold_s, warm_s = start_twice(Path(name) / "pod", tiny_model(Path(name)))
    ratio = warm_s / cold_s
    late = "" if ratio <= LIMIT else ", ABOVE ITS LIMIT"
    print(f"compile cache                    {cold_s:.1f} s to the engine without, {warm_s:.1f} s with it; ", end="")
    print(f"ratio {ratio:.2f}, limit {LIMIT:.2f}{late}")
    return 0 if ratio <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
