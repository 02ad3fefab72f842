"""Parses lists of arguments with the parser of the real `vllm serve`. Runs under the interpreter that has vLLM.

One JSON list per line on stdin; per line on stdout an object by destination, or null where the parser refuses.
"""

import json
import sys
from importlib import import_module
from typing import Any


def main() -> None:
    """Import the parser, answer until stdin ends."""
    flexible = import_module("vllm.utils.argparse_utils").FlexibleArgumentParser
    try:
        module = import_module("vllm.entrypoints.common.cli_args")
    except ModuleNotFoundError:  # before 0.33
        module = import_module("vllm.entrypoints.launchers.cli_args")
    parser = module.make_arg_parser(flexible(prog="vllm serve"))
    for line in sys.stdin:
        parsed: dict[str, Any] | None
        try:
            parsed = vars(parser.parse_args(json.loads(line)))
        except (SystemExit, Exception):  # noqa: BLE001 - what it ends with, the server ends with
            parsed = None
        sys.stdout.write(json.dumps(parsed, default=str) + "\n")


if __name__ == "__main__":
    main()
