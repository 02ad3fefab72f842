"""Additions of a user to the pods of a server: what these have already, and the server with all that is added."""

from dataclasses import replace

from catalog.engine import Engine
from planning.plan.servers import Endpoint
from planning.plan.weights import CheckpointPlan
from planning.server.environment import CACHE_ROOT, check_env, server_env
from planning.server.fit import Site
from planning.server.scratch import with_volumes
from planning.server.servers import Draft
from planning.stack.additions import STAYS, Owned, addition_problems, plan_additions
from planning.stack.flows import model_flows
from planning.stack.outward import CA_FOLDER
from planning.stack.places import MOUNT_PATH
from planning.stack.stores import access_problems
from settings.problems import Problem
from settings.schema import ModelSettings

# Options of the engine are no secrets, and the plan has to know them.
ENGINE_PREFIX = "VLLM_"
FOLDERS = {
    CACHE_ROOT: "where it keeps what it compiles",
    "/tmp": "where it writes",  # noqa: S108 - an emptyDir of the pod
    "/dev/shm": "where its workers meet",  # noqa: S108 - the same
    "/scripts": "where the scripts of the pod are",
    CA_FOLDER: "where the authorities of cluster.caBundle are",
    "/vllm-workspace": "where vLLM's image works",
}


def with_additions(site: Site, draft: Draft, settings: ModelSettings) -> Draft:
    """The server with what is added; its folders on the node's disk are asked for."""
    additions = plan_additions(settings, site.settings.workloads)
    additions = replace(additions, flows=model_flows(site.settings, draft.model_name, site.catalog.networks))
    return replace(draft, additions=additions, scratch=with_volumes(draft.scratch, additions.folders_mib))


def server_addition_problems(site: Site, path: str, draft: Draft | None, settings: ModelSettings) -> list[Problem]:
    """Additions that the server has or needs otherwise; of one that is not planned, those that every server has."""
    if draft is None:
        return addition_problems(settings, path, Owned(annotations=STAYS, folders=FOLDERS))
    _, engine = site.running(draft.image)
    return addition_problems(settings, path, _owned(site, path, draft, settings, engine))


def _owned(site: Site, path: str, draft: Draft, settings: ModelSettings, engine: Engine) -> Owned:
    identity = draft.checkpoint.source.identity
    by_identity = "is decided by weights.credentials.identity; set that"
    return Owned(
        labels=dict.fromkeys(identity.pod_labels, by_identity) if identity else {},
        annotations=STAYS,
        account_annotations=dict.fromkeys(identity.annotations, by_identity) if identity else {},
        variables=_variables(site, path, draft, settings, engine),
        folders={**FOLDERS, **_folders(draft.checkpoints)},
    )


def _variables(site: Site, path: str, draft: Draft, settings: ModelSettings, engine: Engine) -> dict[str, str]:
    """Names in `secretEnv` that are decided elsewhere → by whom."""
    where, source = f"{path}.secretEnv", draft.checkpoint.source
    decided = server_env(engine, startup_budget_s=0, cache_root=CACHE_ROOT, cpu_kv_cache_gib=0 if draft.cpu else None)
    names = dict.fromkeys(settings.secret_env, "")
    # of a name that looks like a secret nothing is said here, where it is one
    faults = [fault for name in names if name in decided for fault in check_env({name: ""}, decided, engine, where)]
    faults += access_problems(source, names, site.catalog, where)
    owned = {fault.path.removeprefix(f"{where}."): fault.message for fault in faults}
    keys = {entry.name for entry in source.secrets} | ({source.secret_file.variable} if source.secret_file else set())
    owned |= dict.fromkeys(keys, "is decided by weights.credentials; set that")
    owned |= {name: "is an option of vLLM and no secret; write it in env" for name in names if _is_option(name, owned)}
    joined = draft.fabric.environment if draft.fabric else ()
    owned |= dict.fromkeys(joined, f"is decided by gpuPools.{draft.pool}.interconnect; leave it out")
    return owned | _own_key(draft.endpoint)


def _is_option(name: str, owned: dict[str, str]) -> bool:
    return name.startswith(ENGINE_PREFIX) and name not in owned


def _own_key(endpoint: Endpoint) -> dict[str, str]:
    return {
        endpoint.key_variable: "is the key that the gateway asks with, which the stack makes",
        endpoint.address_variable: "must be left out: every pod has an address of its own",
    }


def _folders(checkpoints: tuple[CheckpointPlan, ...]) -> dict[str, str]:
    sources = [checkpoint.source for checkpoint in checkpoints]
    mounted = [source.volume.mount_path for source in sources if source.volume]
    mounted += [source.copy.mount_path for source in sources if source.copy]
    mounted += ["/store" for source in sources if source.secret_file]
    return dict.fromkeys((MOUNT_PATH, *mounted), "where its weights are")
