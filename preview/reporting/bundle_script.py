"""A bundle as a POSIX shell script that copies it: images and charts to a registry, weights to a folder.

It needs skopeo, helm and the hub's client, runs where both sides can be reached, and may be run again. Images land
where `images.mirror` makes the pods look for them.
"""

from collections.abc import Iterator
from shlex import quote

from planning.stack.images import path_below
from preview.reporting.bundle import FETCHED, LEFT, Bundle, BundleChart, BundleImage, Weights

CLIENTS = {"huggingface": "hf", "modelscope": "modelscope"}

HEAD = """\
#!/bin/sh
# Copies what {what} needs to a registry and a folder that a network without internet can reach.
# usage: sh copy.sh MIRROR [FOLDER]
#   MIRROR  prefix of that registry, what images.mirror of the stack says: HOST[:PORT][/PATH]
#   FOLDER  where weights are put, one folder per checkpoint; default: weights
set -u
if [ $# -lt 1 ] || [ $# -gt 2 ]; then
  echo "usage: $0 MIRROR [FOLDER]" >&2
  exit 64
fi
mirror=${{1%/}}
folder=${{2:-weights}}
failed=0
for tool in {tools}; do
  if ! command -v "$tool" >/dev/null 2>&1; then
    echo "$tool is not on PATH" >&2
    exit 1
  fi
done

missed() {{
  echo "not copied: $1" >&2
  failed=$((failed + 1))
}}
"""
IMAGE = """
# source, where it is below the mirror
image() {
  echo "image $1"
  skopeo copy --all --preserve-digests --retry-times 3 "docker://$1" "docker://$mirror/$2" || missed "$1"
}
"""
CHART = """
charts=$(mktemp -d) || exit 1
trap 'rm -rf "$charts"' EXIT

# what helm pulls, version, further words for helm
chart() {
  echo "chart $1 $2"
  chart_name=$1
  chart_version=$2
  shift 2
  rm -f "$charts"/*.tgz
  if helm pull "$chart_name" --version "$chart_version" --destination "$charts" "$@"; then
    helm push "$charts"/*.tgz "oci://$mirror/charts" || missed "$chart_name"
  else
    missed "$chart_name"
  fi
}
"""
WEIGHTS = """
# client, repository, revision, folder
weights() {{
  echo "weights $2 $3"
  target=$folder/$4
  if [ -f "$target/manifest.json" ]; then
    return 0
  fi
  "$1" download "$2" --revision "$3" --local-dir "$target" {patterns} || return 1
  # a client that does not reach the hub may call what it finds in the folder complete: this asks the hub again
  if ! "$1" cache verify "$2" --revision "$3" --local-dir "$target"; then
    echo "the hub does not vouch for $target; remove the files that it names above before you run this again" >&2
    return 1
  fi
  rm -rf "$target/.cache"
}}

# folder, repository, revision: writes what servers look for, each file with its size and hash; 1 if shards are missing
manifest() {{
  python3 - "$folder/$1" "$2" "$3" <<'PYTHON'
import hashlib
import json
import pathlib
import sys

folder, repository, revision = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
files = {{}}
for path in sorted(folder.rglob("*")):
    name = path.relative_to(folder).as_posix()
    if path.is_file() and not name.startswith(".") and name != "manifest.json":
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        files[name] = {{"bytes": path.stat().st_size, "sha256": digest}}
for name in [name for name in files if name.endswith(".safetensors.index.json")]:
    shards = json.loads((folder / name).read_text(encoding="utf-8"))["weight_map"].values()
    if missing := {{shard for shard in shards if not (folder / name).with_name(shard).is_file()}}:
        sys.exit(f"{{folder}} lacks {{', '.join(sorted(missing))}}")
text = json.dumps({{"repo": repository, "revision": revision, "files": files}}, indent=1)
(folder / "manifest.json").write_text(text, encoding="utf-8")
PYTHON
}}
"""
TAIL = """
if [ "$failed" -gt 0 ]; then
  echo "$failed of {number} could not be copied; run this again" >&2
  exit 1
fi
echo "all {number} copied"
"""


def copy_script(bundle: Bundle) -> str:
    """The script; its exit code is 0, 1 when something could not be copied, 64 for wrong usage."""
    carried = [chart for chart in bundle.charts if chart.repository or chart.reference.startswith("oci://")]
    clients = {CLIENTS[checkpoint.hub] for checkpoint in bundle.weights}
    tools = [
        *(["skopeo"] if bundle.images else []),
        *(["helm"] if carried else []),
        *sorted(clients),
        *(["python3"] if clients else []),
    ]
    parts = [HEAD.format(what=f"stack {bundle.stack} of {bundle.project}", tools=" ".join(tools))]
    if bundle.images:
        parts += [IMAGE, "\n", *(f"{_image(image)}\n" for image in bundle.images)]
    if carried:
        parts += [CHART, "\n", *(f"{_chart(chart)}\n" for chart in carried)]
    if bundle.weights:
        patterns = [f"--include {quote(pattern)}" for pattern in FETCHED] + [
            f"--exclude {quote(pattern)}" for pattern in LEFT
        ]
        parts += [WEIGHTS.format(patterns=" \\\n    ".join(patterns)), "\n"]
        parts += ["".join(f"{line}\n" for line in _weights(checkpoint)) for checkpoint in bundle.weights]
    parts.append("".join(f"\n# not in here: {line}" for line in _not_copied(bundle)) + "\n" * bool(bundle.not_known))
    parts.append(TAIL.format(number=len(bundle.images) + len(carried) + len(bundle.weights)))
    return "".join(parts)


def _not_copied(bundle: Bundle) -> Iterator[str]:
    for chart in bundle.charts:
        if not chart.repository and not chart.reference.startswith("oci://"):
            yield f"chart {chart.reference}, which is a path on the machine that runs pulumi"
    yield from bundle.not_known


def _image(image: BundleImage) -> str:
    """By digest where one is known: skopeo takes a tag or a digest, not both."""
    named, _, digest = image.source.partition("@")
    head, slash, last = named.rpartition("/")
    name, _, tag = last.partition(":")
    repository = f"{head}{slash}{name}"
    source = f"{repository}@{digest}" if digest else named
    target = path_below(repository) + (f":{tag}" if tag else f"@{digest}")
    return f"image {quote(source)} {quote(target)}"


def _chart(chart: BundleChart) -> str:
    place = f" --repo {quote(chart.repository)}" if chart.repository else ""
    return f"chart {quote(chart.reference)} {quote(chart.version)}{place}"


def _weights(checkpoint: Weights) -> Iterator[str]:
    where, repository, revision = quote(checkpoint.directory), quote(checkpoint.repository), quote(checkpoint.revision)
    # what nobody has pinned is the newest of the default branch, which ModelScope calls so
    hub_revision = "master" if (checkpoint.hub, checkpoint.revision) == ("modelscope", "main") else revision
    yield f"if weights {CLIENTS[checkpoint.hub]} {repository} {hub_revision} {where}; then"
    if sums := [f"{file.sha256}  {file.name}" for file in checkpoint.files if file.sha256]:
        yield f"  (cd \"$folder\"/{where} && sha256sum --quiet -c - <<'SUMS'"
        yield from sums
        yield "SUMS"
        yield f"  ) && manifest {where} {repository} {revision} || missed {repository}"
    else:
        yield f"  manifest {where} {repository} {revision} || missed {repository}"
    yield "else"
    yield f"  missed {repository}"
    yield "fi"
