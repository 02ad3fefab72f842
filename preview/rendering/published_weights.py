"""Weights that somebody has to publish before a stack finds them in a bucket or an image, and who must be let in there.

Read from the pods of the rendered objects: the container that looks at weights before a server, and the Job that fills
a bucket, name the folder; their ServiceAccount or their Secret is who asks for it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from planning.stack.outward import PROXY_VARIABLES
from preview.rendering.manifests import Manifest

STORES = ("s3://", "gs://", "az://")
# The variable with the folder of who only reads, and of who writes.
READ, WRITTEN = "MODEL_DIR", "TARGET_URL"
# The end of the variable with the account of a store whose URL has none; the volume with the keys of a store.
ACCOUNT, KEYS_VOLUME = "_ACCOUNT_NAME", "store"
PUBLISHED = "with manifest.json, as the weights Job publishes it"


def published_weights(contents: Iterable[tuple[Manifest, Sequence[Any]]]) -> Iterator[tuple[str, str, str]]:
    """(kind, name, what it must hold or allow) of each bucket folder and image; `contents`: objects, all mappings."""
    pods = [pod for _, inside in contents for pod in inside if "containers" in pod]
    accounts = {manifest.name: manifest.body for manifest, _ in contents if manifest.kind == "ServiceAccount"}
    folders: dict[tuple[str, str], dict[str, dict[str, None]]] = {}
    images: dict[str, dict[str, None]] = {}
    for pod in pods:
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            values = {variable["name"]: variable.get("value", "") for variable in container.get("env", [])}
            for variable in (READ, WRITTEN):
                if values.get(variable, "").startswith(STORES):
                    whom = _whom(pod, container, accounts)
                    accounted = (value for name, value in values.items() if name.endswith(ACCOUNT))
                    folder = values[variable], next(accounted, "")
                    folders.setdefault(folder, {}).setdefault(variable, {})[whom] = None
            for reference, directory in _images(pod, container, values.get(READ, "")):
                images.setdefault(reference, {})[directory] = None
    for (folder, account), users in sorted(folders.items()):
        where = f"in the storage account {account}: " if account else ""
        yield "Folder", f"{folder}/", f"{where}{'; '.join(_rights(users))}"
    for reference, directories in sorted(images.items()):
        yield "Image", reference, f"must hold {', '.join(sorted(directories))} {PUBLISHED}"


def _rights(users: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """Sentences on one folder: what is in it, who must be let in to read, who to write."""
    if WRITTEN not in users:
        yield f"must hold the files {PUBLISHED}"
    else:
        yield f"is filled by {' and '.join(users[WRITTEN])}, who must be let in to list, get and put"
    if READ in users and (readers := [user for user in users[READ] if user]):
        yield f"{' and '.join(readers)} must be let in to list and get"


def _whom(pod: Mapping[str, Any], container: Mapping[str, Any], accounts: Mapping[str, Any]) -> str:
    """The asker as the store sees it: keys of a Secret, an identity, a ServiceAccount; empty where anybody may read."""
    secrets = [
        variable["valueFrom"]["secretKeyRef"]["name"]
        for variable in container.get("env", [])
        if "secretKeyRef" in variable.get("valueFrom", {}) and variable["name"] not in ("HF_TOKEN", *PROXY_VARIABLES)
    ]
    secrets += [
        volume["secret"]["secretName"]
        for volume in pod.get("volumes", [])
        if "secret" in volume and volume["name"].startswith(KEYS_VOLUME)
    ]
    if secrets:
        return f"the keys of Secret {secrets[0]}"
    if any(variable["name"].endswith("_UNSIGNED") for variable in container.get("env", [])):
        return ""
    account = pod["serviceAccountName"]
    annotations = accounts.get(account, {}).get("metadata", {}).get("annotations", {})
    identities = [value for key, value in annotations.items() if not key.startswith("pulumi.com/")]
    return f"{identities[0]} (ServiceAccount {account})" if identities else f"ServiceAccount {account}"


def _images(pod: Mapping[str, Any], container: Mapping[str, Any], directory: str) -> Iterator[tuple[str, str]]:
    """(image, directory in it) of a container that looks at weights in image volumes."""
    for mount in container.get("volumeMounts", []):
        inside = directory.startswith(f"{mount['mountPath']}/")
        for volume in pod.get("volumes", []):
            if inside and volume["name"] == mount["name"] and "image" in volume:
                yield volume["image"]["reference"], f"{directory.removeprefix(mount['mountPath'] + '/')}/"
