"""LoRA adapters as Jobs, claims and pods: what is beside what is there for weights, and what another one changes."""

from typing import Any

from tests.harness import container_of, environment, gateway_config, minimal, pods, stack

COMMIT = "a" * 40
SQL, LEGAL = ({"repo": f"acme/{name}", "revision": COMMIT} for name in ("sql", "legal"))


def small(**adapters: Any) -> Any:
    """The minimal stack with adapters."""
    return stack(minimal(models={"small": {"adapters": adapters}}))


def server(deployed: Any) -> Any:
    """The pod of the server."""
    return next(pod.spec for pod in pods(deployed) if pod.owner == "Deployment vllm-small")


def job(deployed: Any, repository: str) -> Any:
    """The Job that fetches a repository."""
    bodies = [body for body in deployed.objects("Job") if "MODEL_REPO" in environment(container_of(body))]
    return next(body for body in bodies if environment(container_of(body))["MODEL_REPO"] == repository)


def test_an_adapter_is_fetched_by_a_job_that_looks_at_it():
    """It knows the base, the rank and who says both; the Jobs of weights have the script they had."""
    deployed, plain = small(sql={**SQL, "rank": 32, "base": "unsloth/tiny"}), stack(minimal())
    body = job(deployed, "acme/sql")
    container, told = container_of(body), environment(container_of(body))
    assert container["command"] == ["python3", "/scripts/fetch_adapter.py"]
    wanted = {"ADAPTER_FIELD": "models.small.adapters.sql", "BASE_MODEL": "unsloth/tiny", "MAX_RANK": "32"}
    assert wanted.items() <= told.items()
    scripts = {"fetch_adapter.py", "fetch_proven.py", "fetch_weights.py", "prove_weights.py"}
    assert deployed.object("ConfigMap", "model-weights-adapter")["data"].keys() == scripts
    (claim,) = (
        v["persistentVolumeClaim"]["claimName"]
        for v in body["spec"]["template"]["spec"]["volumes"]
        if v["name"] == "models"
    )
    assert deployed.object("PersistentVolumeClaim", claim)["spec"]["resources"] == {"requests": {"storage": "2Gi"}}
    mount = next(mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "models")
    assert told["TARGET_DIR"] == f"{mount}/acme--sql/{COMMIT}"
    repository = "Qwen/Qwen3-0.6B"
    assert job(deployed, repository) == job(plain, repository)


def test_a_pod_looks_at_its_adapters_before_it_serves_them():
    """An init container for each, and the claim of each read-only where vLLM is told to look."""
    pod = server(small(sql=SQL))
    _, looking = pod["initContainers"]
    told = environment(looking)
    (container,) = pod["containers"]
    assert (told["MODEL_REPO"], told["PREWARM"]) == ("acme/sql", "false")
    assert container["args"][-2:] == ["--lora-modules", f"sql={told['MODEL_DIR']}"]
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert mounts["models-1"]["readOnly"]
    assert told["MODEL_DIR"].startswith(f"{mounts['models-1']['mountPath']}/")


def test_the_gateway_lists_adapters_with_the_terms_of_their_model():
    """Same server, same key, same price."""
    model, sql = gateway_config(small(sql=SQL))["model_list"]
    assert (sql["model_name"], sql["litellm_params"].pop("model")) == ("sql", "hosted_vllm/sql")
    assert (model["litellm_params"].pop("model"), model["model_info"].pop("id")) == ("hosted_vllm/small", "vllm-small")
    assert sql["model_info"].pop("id") == "vllm-small/sql"
    assert (sql["litellm_params"], sql["model_info"]) == (model["litellm_params"], model["model_info"])


def test_the_stack_tells_of_its_adapters():
    """Public name → repository, as of models."""
    deployed = small(sql=SQL)
    assert deployed.plan.servers[0].adapters.keys() == {"sql"}
    assert deployed.exports["models"] == {"small": "Qwen/Qwen3-0.6B", "sql": "acme/sql"}


def test_another_adapter_leaves_what_is_there():
    """The Jobs and claims of the others are as they were; the pod of the server is another."""
    before, after = small(sql=SQL), small(sql=SQL, legal=LEGAL)
    for repository in ("acme/sql", "Qwen/Qwen3-0.6B"):
        assert job(before, repository) == job(after, repository)
    assert server(before) != server(after)
    claims = [
        {body["metadata"]["name"] for body in deployed.objects("PersistentVolumeClaim")} for deployed in (before, after)
    ]
    assert (claims[0] < claims[1], len(claims[1] - claims[0])) == (True, 1)


def test_an_adapter_of_copied_weights_is_mounted_where_it_is():
    """The claim beside the copy, with the script that looks at it."""
    weights = {"storageClass": "nvme", "kind": "nodeCache", "from": {"kind": "existingClaim", "claimName": "disk"}}
    deployed = stack(minimal(weights=weights, models={"small": {"adapters": {"sql": SQL}}}))
    pod = server(deployed)
    copying, looking = pod["initContainers"]
    assert [one["command"][1] for one in (copying, looking)] == [
        "/scripts/copy_weights.py",
        "/scripts/prewarm_weights.py",
    ]
    (script,) = (volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume)
    assert {"copy_weights.py", "prewarm_weights.py"} <= deployed.object("ConfigMap", script)["data"].keys()
    (container,) = pod["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert (mounts["models"], mounts["copy"]) == ("/models", "/copy")
    assert container["args"][-1] == f"sql=/models/acme--sql/{COMMIT}"
