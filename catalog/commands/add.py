"""`python -m catalog add`: the entry of a checkpoint from its `config.json`, as YAML for a file of one's own."""

import argparse
import json
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from catalog.architecture import Architecture
from catalog.commands.hub import CONFIG, INDEX, QUANTIZATION, repository
from catalog.importing import Files, imported
from catalog.importing.text import as_yaml
from planning.capacity.weights import parameter_count
from settings.commandline import FINE, Parser, UsageError
from settings.problems import Problem, Refused

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
COMMIT = re.compile(r"[0-9a-f]{40}")
NO_NAME = "ORG/NAME"


def add_options(parser: Parser) -> None:
    """Files of the checkpoint, or where on the hub it is."""
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"the checkpoint's {CONFIG}")
    parser.add_argument("--index", type=Path, metavar="FILE", help=f"its {INDEX}, which has the bytes of its weights")
    parser.add_argument("--quantization", type=Path, metavar="FILE", help=f"its {QUANTIZATION}, where it has one")
    parser.add_argument("--repo", metavar="ORG/NAME", help="its repository, the name of the entry")
    parser.add_argument("--revision", metavar="SHA", help="its commit, 40 hexadecimal digits; with --hub any revision")
    parser.add_argument("--license", metavar="NAME", help="its license, as the model card says")
    parser.add_argument(
        "--hub", action="store_true", help="read the files from the hub (HF_ENDPOINT, HF_TOKEN); needs --repo"
    )


def answer(options: argparse.Namespace) -> int:
    """Prints the entry, and on stderr what is not known. Raises `Refused` where too little is for an entry."""
    _check(options)
    files = _from_hub(options) if options.hub else _from_files(options)
    result = imported(files)
    if result.entry is None:
        raise Refused([Problem(str(options.config or options.repo), each) for each in result.unknown])
    unknown = [*result.unknown, *([] if options.repo else [f"the name of the repository: give --repo {NO_NAME}"])]
    entry = dict(result.entry)
    if result.model is not None and result.model.architecture is not None:
        entry = _with_parameters(entry, result.model.architecture)
    sys.stdout.write(as_yaml(options.repo or NO_NAME, entry, unknown))
    sys.stderr.write("".join(f"unknown: {each}\n" for each in unknown))
    return FINE


def _with_parameters(entry: dict[str, object], shape: Architecture) -> dict[str, object]:
    """The entry with the parameters that its shape counts, after its profile."""
    whole, active = parameter_count(shape), parameter_count(shape, active=True)
    counts = {"parameters": whole, **({"activeParameters": active} if active != whole else {})}
    at = list(entry).index("kvProfile") + 1
    return {**dict(list(entry.items())[:at]), **counts, **dict(list(entry.items())[at:])}


def _check(options: argparse.Namespace) -> None:
    if options.repo is not None and not REPOSITORY.fullmatch(options.repo):
        raise UsageError(f"--repo: '{options.repo}' is no repository id; it is like Qwen/Qwen3-8B")
    if options.hub:
        if options.repo is None:
            raise UsageError("--hub needs --repo")
        if options.config or options.index or options.quantization:
            raise UsageError("--hub reads the files itself: leave out --config, --index and --quantization")
        return
    if options.config is None:
        raise UsageError("--config is missing; or --hub, which reads it from the hub")
    if options.revision is not None and not COMMIT.fullmatch(options.revision):
        raise UsageError(f"--revision: '{options.revision}' is no commit of 40 hexadecimal digits")


def _from_files(options: argparse.Namespace) -> Files:
    beside = options.config.with_name(QUANTIZATION)
    quantization = options.quantization or (beside if beside.is_file() else None)
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    read = {CONFIG: options.config, INDEX: options.index, QUANTIZATION: quantization}
    problems: list[Problem] = []
    contents = {name: _read(path, problems) for name, path in read.items() if path is not None}
    if problems:
        raise Refused(problems)
    of = f" of {options.repo}" if options.repo else ""
    return Files(
        contents[CONFIG],
        contents.get(INDEX),
        contents.get(QUANTIZATION),
        options.revision,
        options.license,
        sources=(f"{', '.join(contents)}{of}, read {today}",),
    )


def _from_hub(options: argparse.Namespace) -> Files:
    known = repository(options.repo, options.revision)
    return Files(
        known.config,
        known.tensors,
        known.quantization,
        known.revision,
        options.license or known.license,
        known.gated,
        known.weight_bytes,
        (f"files of {options.repo}@{known.revision[:7]} on the hub, read {datetime.now(UTC):%Y-%m-%d}",),
    )


def _read(path: Path, problems: list[Problem]) -> Mapping[str, object]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(Problem(str(path), f"cannot be read: {error.strerror}"))
        return {}
    except (ValueError, RecursionError) as error:
        problems.append(Problem(str(path), f"is no JSON: {' '.join(str(error).split())[:120]}"))
        return {}
    if not isinstance(content, Mapping):
        problems.append(Problem(str(path), "must be a JSON object"))
        return {}
    return content
