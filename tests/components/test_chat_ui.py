"""`LlmGateway` with a page to chat with: what is declared, in which order, who reaches it, and what outlives it.

Does not prove that Open WebUI starts so, nor that a claim is kept on a cluster.
"""

from typing import Any

from tests.harness import CHAT_UI, container_of, environment, merged, minimal, own_keys, stack

NAME = "open-webui"
INGRESS = {
    "expose": {"kind": "ingress", "gatewayName": None, "className": "nginx", "tlsSecret": "llm-tls"},
    "chatUi": {"tlsSecret": "chat-tls", "storageClass": "ssd", "gib": 50},
}


def peer(app: str) -> dict[str, Any]:
    """Pods of a network rule."""
    return {"podSelector": {"matchLabels": {"app.kubernetes.io/name": app, "app.kubernetes.io/instance": app}}}


def test_it_is_one_pod_whose_claim_is_kept():
    """A claim of its own, so that it may grow, which the engine never deletes."""
    deployed = stack(minimal(gateway=merged(CHAT_UI, INGRESS)))
    workload, claim = (deployed.object(kind, NAME) for kind in ("StatefulSet", "PersistentVolumeClaim"))
    assert (workload["spec"]["replicas"], "volumeClaimTemplates" in workload["spec"]) == (1, False)
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "ssd",
        "resources": {"requests": {"storage": "50Gi"}},
    }
    assert deployed.record("PersistentVolumeClaim", "gateway-chat-ui").options.retain_on_delete is True


def test_it_starts_when_the_gateway_knows_its_key():
    """After the Job that tells of the key, its own rules, and the claim."""
    deployed = stack(minimal(gateway=CHAT_UI))
    waits = deployed.depends_on("StatefulSet", "gateway-chat-ui")
    assert {one for one in waits if not one.startswith(("Namespace", "ServiceAccount"))} == {
        "Job/gateway-teams",
        "NetworkPolicy/gateway-chat-ui",
        "NetworkPolicy/gateway-chat-ui-to-provider",
        "PersistentVolumeClaim/gateway-chat-ui",
        "Service/gateway",
    }


def test_its_keys_are_entries_of_secrets_and_nothing_else_is_secret():
    """The team's key by its entry, or derived once more; what is its own from the Secret that is named."""
    entries = {}
    for config in (
        minimal(gateway=CHAT_UI),
        own_keys(gateway=merged(CHAT_UI, {"teams": {"staff": {"existingSecret": None}}})),
    ):
        found = environment(container_of(stack(config).object("StatefulSet", NAME)))
        assert found["OPENAI_API_BASE_URL"] == "http://litellm.llm-serving.svc:4000/v1"
        secret = {name: value for name, value in found.items() if value.startswith("secret:")}
        entries[secret.pop("OPENAI_API_KEY")] = secret
    own = {
        "OAUTH_CLIENT_SECRET": "secret:chat-ui/client-secret",
        "WEBUI_ADMIN_PASSWORD": "secret:chat-ui/admin-password",
        "WEBUI_SECRET_KEY": "secret:chat-ui/session-key",
    }
    assert entries == {"secret:staff-keys/chat-1": own, "secret:gateway-chat-ui-key-auto/chat-1": own}


def test_another_master_key_starts_it_anew_with_its_own():
    """A derived key is that of the team's Secret, in one that is called otherwise whenever it is another."""
    derived = own_keys(gateway=merged(CHAT_UI, {"teams": {"staff": {"existingSecret": None}}}))
    one, other = stack(derived), stack(merged(derived, {"gatewayMasterKey": "sk-another-master-key-0001"}))
    found = [(done.secret("gateway-chat-ui-key"), done.secret("gateway-teams-staff")) for done in (one, other)]
    assert [key for key, _ in found] == [whole for _, whole in found]
    assert found[0] != found[1]
    assert "name" not in one.record("Secret", "gateway-chat-ui-key").inputs["metadata"]


def test_it_reaches_the_gateway_and_where_people_sign_in():
    """Whoever the edge sends may ask it."""
    deployed = stack(minimal(gateway=CHAT_UI))
    policy = deployed.object("NetworkPolicy", NAME)["spec"]
    assert (policy["podSelector"], policy["ingress"], policy["egress"]) == (
        peer(NAME)["podSelector"],
        [{"ports": [{"port": 8080, "protocol": "TCP"}]}],
        [{"to": [peer("litellm")], "ports": [{"port": 4000, "protocol": "TCP"}]}],
    )
    (rule,) = deployed.object("NetworkPolicy", f"{NAME}-to-provider")["spec"]["egress"]
    assert rule["ports"] == [{"port": 443, "protocol": "TCP"}]


def test_its_host_leads_to_all_of_it_by_the_edge_of_the_gateway():
    """A route of its own, of the same Gateway or class; that of the gateway stays as it is."""
    deployed = stack(minimal(gateway=CHAT_UI))
    route, gateway = (deployed.object("HTTPRoute", name)["spec"] for name in (NAME, "litellm"))
    assert (route["hostnames"], gateway["hostnames"]) == (["chat.example.com"], ["llm.example.com"])
    assert route["parentRefs"] == gateway["parentRefs"]
    (rule,) = route["rules"]
    assert (rule["matches"], rule["timeouts"]) == (
        [{"path": {"type": "PathPrefix", "value": "/"}}],
        gateway["rules"][0]["timeouts"],
    )
    assert [(one["name"], one["port"]) for one in rule["backendRefs"]] == [(NAME, 8080)]
    ingress = stack(minimal(gateway=merged(CHAT_UI, INGRESS))).object("Ingress", NAME)["spec"]
    assert (ingress["ingressClassName"], ingress["tls"]) == (
        "nginx",
        [{"hosts": ["chat.example.com"], "secretName": "chat-tls"}],
    )
    assert ingress["rules"][0]["http"]["paths"] == [
        {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": NAME, "port": {"name": "http"}}}}
    ]


def test_nothing_of_it_is_in_the_image():
    """What it writes is on its claim and in /tmp; beside the first stay the models of the image."""
    spec = stack(minimal(gateway=CHAT_UI)).object("StatefulSet", NAME)["spec"]["template"]["spec"]
    container = spec["containers"][0]
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/data", "/tmp"]
    found = environment(container)
    assert (found["DATA_DIR"], found["HOME"], found["STATIC_DIR"]) == ("/data", "/tmp", "/tmp/static")
    assert (container["securityContext"]["readOnlyRootFilesystem"], spec["securityContext"]["runAsNonRoot"]) == (
        True,
        True,
    )
