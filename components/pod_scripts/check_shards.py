"""Check that a bucket holds the checkpoint in files of each rank, before a server streams it from there.

Runs as `check_store`, which stands beside it, with one variable more:

    MODEL_SHARDS    patterns of file names, one a rank, apart by spaces: each has a file, and no file is of none

Other ranks than the server has would load, each a wrong part or none, and the server says so after minutes.
"""

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase

from check_store import NotReadyError, Store, streamer
from check_store import main as check


def shard_faults(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Ranks without a file, and files without a rank."""
    faults = [f"{pattern} is missing" for pattern in patterns if not any(fnmatchcase(name, pattern) for name in names)]
    odd = [name for name in names if not any(fnmatchcase(name, pattern) for pattern in patterns)]
    return faults + [f"{name} is of no rank of this server" for name in sorted(odd)]


def main(environ: Mapping[str, str], store: Callable[[], Store] = streamer) -> int:
    """Check; return the exit status."""
    patterns = environ["MODEL_SHARDS"].split()

    def of_ranks() -> Store:
        names, pull = store()

        def listed(url: str) -> Sequence[str]:
            every = names(url)
            if faults := shard_faults([name.removeprefix(f"{url}/") for name in every], patterns):
                remedy = f"save them with as many as this server has, {len(patterns)}, then restart this pod"
                raise NotReadyError(f"{url} is not of these ranks: {', '.join(faults)}; {remedy}")
            return every

        return listed, pull

    return check(environ, of_ranks)


if __name__ == "__main__":
    # Process 1 of a container ignores signals that it does not handle; nothing here needs tidying up.
    signal.signal(signal.SIGTERM, lambda signum, _frame: os._exit(128 + signum))
    sys.exit(main(os.environ))
