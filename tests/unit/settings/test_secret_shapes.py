"""What is taken for a secret, and what is not. Does not prove that no other kind exists."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settings.secret_shapes import HIDDEN, mask, recognise
from tests.unit.small_stack import properties

PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N"


@pytest.mark.parametrize(
    ("text", "what", "shown"),
    [
        ("postgres://u:PW@h/db", "a password in a URL", f"postgres://{HIDDEN}@h/db"),
        ("postgresql+asyncpg://u:p/w?x@h", "a password in a URL", f"postgresql+asyncpg://{HIDDEN}@h"),
        ("redis://:PW@h:6379", "a password in a URL", f"redis://{HIDDEN}@h:6379"),
        ("https://token@mirror/x", "a password in a URL", f"https://{HIDDEN}@mirror/x"),
        ("oci://u:PW@reg/charts", "a password in a URL", f"oci://{HIDDEN}@reg/charts"),
        ("u:PW@mirror.corp/hub", "a password before a host", f"u:{HIDDEN}@mirror.corp/hub"),
        ("https://h/x?token=hf_abc", "a secret in a query", f"https://h/x?token={HIDDEN}"),
        ("https://h/x?a=1&password=PW", "a secret in a query", f"https://h/x?a=1&password={HIDDEN}"),
        ("https://h/x#access_token=PW", "a secret in a query", f"https://h/x#access_token={HIDDEN}"),
        ("https://h/x?X-Amz-Signature=ab12", "a secret in a query", f"https://h/x?X-Amz-Signature={HIDDEN}"),
        ("DB_PASSWORD=hunter22", "a password or key", f"DB_PASSWORD={HIDDEN}"),
        ('{"api_key": "abcd1234"}', "a password or key", f'{{"api_key": "{HIDDEN}"}}'),
        ("HF_TOKEN=abcd1234", "a password or key", f"HF_TOKEN={HIDDEN}"),
        ("Authorization: Bearer abcdefghijkl", "a bearer token", f"Authorization: Bearer {HIDDEN}"),
        ("sk-1234", "an API key", HIDDEN),
        ("sk-proj-AbCdEf_0123", "an API key", HIDDEN),
        ("sk_live_abcdefgh1", "an API key", HIDDEN),
        ("hf_AbCdEfGhIjKlMnOpQrStUvWxYz01234567", "a token of Hugging Face", HIDDEN),
        ("hf_marker_51c0ffee9ad2", "a token of Hugging Face", HIDDEN),
        ("ghp_0123456789abcdefABCDEF0123456789abcd", "a token of GitHub", HIDDEN),
        ("github_pat_11ABCDEFG0123456789", "a token of GitHub", HIDDEN),
        ("glpat-abcdefgh12345678", "a token of GitLab", HIDDEN),
        ("xoxb-1234-abcd5678", "a token of Slack", HIDDEN),
        ("AKIAIOSFODNN7EXAMPLE", "a key of AWS", HIDDEN),
        ("AIzaSyA0123456789abcdefghijklmnopqrstuv", "a key of Google", HIDDEN),
        ("nvapi-abcdefgh1234", "a key of NVIDIA", HIDDEN),
        ("ms-01234567-89ab-cdef-0123-456789abcdef", "a token of ModelScope", HIDDEN),
        ("dckr_pat_abcdefgh12", "a token of Docker Hub", HIDDEN),
        ("hvs.CAESIJabcdefgh12345", "a token of Vault", HIDDEN),
        (JWT, "a JSON Web Token", HIDDEN),
        (PEM, "a private key", HIDDEN),
    ],
)
def test_a_secret_is_recognised_and_hidden(text, what, shown):
    """Alone, and in the middle of a sentence that quotes it."""
    assert (recognise(text), mask(text)) == (what, shown)
    quoted = mask(f'"{text}" is not well formed') if text is not PEM else ""
    assert recognise(quoted) is None


@pytest.mark.parametrize(
    "text",
    [
        "40c069824f4251a91eefaf281ebe4c544efd3e18",
        "sha256:" + "ab12" * 16,
        "vllm/vllm-openai:v0.33.0@sha256:" + "ab12" * 16,
        "reg:5000/vllm:v1@sha256:" + "0" * 64,
        "redis:8.10.1-trixie@sha256:" + "0" * 64,
        "Qwen/Qwen3-14B-AWQ",
        "deepseek-ai/DeepSeek-R1-0528",
        "https://hf-mirror.com",
        "https://[fd00::1]:8443/x",
        "http://kube-prometheus-stack-prometheus.monitoring.svc:9090",
        "https://github.com/llm-stack/llm-stack/blob/main/docs/runbook.md",
        "https://wiki.corp/page?tab=alerts#section",
        "arn:aws:eks:eu-central-1:123456789012:cluster/gpu",
        "kubernetes-admin@kubernetes",
        "me@cluster.eu-central-1.eksctl.io",
        "al2023@v20261101",
        "bottlerocket@latest",
        '--hf_overrides={"max_position_embeddings": 65536}',
        "--hf-overrides.rope_scaling.factor=4.0",
        '--override-generation-config={"max_new_tokens": 512, "eos_token_id": 2, "pad_token": "<pad>"}',
        "--tokenizer-mode=mistral",
        "--max-num-batched-tokens=8192",
        "--reasoning-parser=deepseek_r1",
        "task-force-1234",
        "disk-cache-01",
        "gpu-risk-2024",
        "hf_transformers",
        "llm-keys",
        "redis-password",
        "gateway-api-key",
        "default/basic-auth",
        "proxy_set_header Authorization $http_authorization;",
        "PASSWORD=$(DB_PASSWORD)",
        "api_key: os.environ/OPENAI_API_KEY",
        "0 20 * * 1-5",
        "Europe/Berlin",
        "nvcr.io/nvidia/vllm:26.10-py3",
        "KarpenterNodeRole-prod-gpu-1",
        "",
    ],
)  # fmt: skip
def test_ordinary_values_are_no_secrets(text):
    """Commits, digests, ids, addresses, arguments, and names of what holds a secret."""
    assert (recognise(text), mask(text)) == (None, text)


@properties(300)
@given(
    st.text(alphabet="0123456789abcdef", min_size=12, max_size=64) | st.text(alphabet=st.characters(max_codepoint=127))
)
def test_masking_is_done_once(text):
    """What has been masked holds nothing more to hide, and hexadecimal numbers are never taken for a secret."""
    assert mask(mask(text)) == mask(text)
    if set(text) <= set("0123456789abcdef"):
        assert recognise(text) is None


@pytest.mark.parametrize(
    "unit", ["sk-", "a:", "u:p@", " ", "a" * 20, "://", "password=", "eyJ.", "?key", "hf_a", "-----BEGIN ", "A" * 20]
)
def test_looking_takes_no_time(unit):
    """Text of the greatest length, made of beginnings, is looked through in a moment."""
    text = (unit * 65_536)[:65_536]
    began = time.process_time()
    recognise(text)
    mask(text)
    assert time.process_time() - began < 2
