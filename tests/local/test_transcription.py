"""Speech behind the real LiteLLM: a recording goes in, words come out, and its seconds are what they cost.

A random stand-in answers for Whisper, so nothing here reads the words; it is asked in the right way, by its name.
"""

import io
import wave
from collections.abc import Iterator

import pytest

from planning.tasks import TRANSCRIBE
from tests.gateway.client import Answer, request
from tests.local.runs import Run, project
from workshop.ports import LOOPBACK

pytestmark = pytest.mark.local

SPEECH, USD_PER_HOUR = "speech", 7.2
RATE_HZ, BOUNDARY = 16000, "end-of-a-part"
STACK = f"""\
config:
  pulumi:disable-default-providers: ["kubernetes"]
  llm-stack:cluster: {{context: speech, identifier: speech}}
  llm-stack:gpuPools:
    this-machine: {{gpu: none, nodes: 1, cpusPerNode: 4, memoryGibPerNode: 12}}
  llm-stack:weights: {{kind: existingClaim, claimName: tiny}}
  llm-stack:models:
    {SPEECH}:
      model: openai/whisper-large-v3-turbo
      pool: this-machine
      memoryGib: 4
      priceUsdPerAudioHour: {USD_PER_HOUR}
      args: [--enforce-eager, --dtype=float32]
  llm-stack:gateway: {{replicas: 1, existingSecret: llm-keys, redis: {{kind: none}}}}
  llm-stack:gpuOperator: {{install: false, verifyNodes: false}}
  llm-stack:autoscaling: {{install: false}}
  llm-stack:observability: {{install: false}}
  llm-stack:images: {{overrides: {{vllm-cpu: {{version: v0.32.0}}}}}}
"""


@pytest.fixture(scope="module")
def speech_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """One server and the gateway, up, with a cache of their own in which the weights are made."""
    cache = tmp_path_factory.mktemp("cache")
    folder = project(tmp_path_factory.mktemp("speech"), speech=STACK)
    run = Run(folder, "speech", {"XDG_CACHE_HOME": str(cache)})
    try:
        yield run.up()
    finally:
        run.call("down", "--now")


def recording(seconds: int) -> bytes:
    """A WAV file of a hum."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE_HZ)
        sound.writeframes(b"".join((turn % 80 * 100).to_bytes(2, "little") for turn in range(RATE_HZ * seconds)))
    return file.getvalue()


def transcribe(run: Run, model: str, sound: bytes) -> Answer:
    """The answer to a recording that is sent to the gateway as SDKs send files."""
    parts = {'name="model"': model.encode(), 'name="file"; filename="hum.wav"\r\nContent-Type: audio/wav': sound}
    body = b"".join(
        f"--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + content + b"\r\n"
        for head, content in parts.items()
    )
    gateway, kind = run.gateway(), {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    end = f"--{BOUNDARY}--\r\n".encode()
    return request(f"http://{LOOPBACK}:{gateway.port}", TRANSCRIBE.path, body + end, gateway.key, kind, timeout_s=120)


@pytest.mark.parametrize("seconds", [3, 12])
def test_a_recording_is_answered_and_costs_its_seconds(speech_stack: Run, seconds: int):
    """Words by the name of the model, and the price of an hour by the second."""
    answer = transcribe(speech_stack, SPEECH, recording(seconds))
    assert (answer.status, "text" in answer.text) == (200, True), answer.text
    assert isinstance(answer.json["text"], str)
    assert float(answer.headers["x-litellm-response-cost"]) == pytest.approx(seconds * USD_PER_HOUR / 3600)


def test_what_is_no_recording_is_an_error_of_the_client(speech_stack: Run):
    """And so is a model that is not there."""
    assert 400 <= transcribe(speech_stack, SPEECH, b"no sound").status < 500
    assert 400 <= transcribe(speech_stack, "no-such-model", recording(1)).status < 500
