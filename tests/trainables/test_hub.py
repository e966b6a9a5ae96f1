"""What is read from the hub, against a server that answers as the hub does."""

import json
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from spaces import InputError
from trainables import hub

SD15 = [
    ".gitattributes", "README.md", "model_index.json", "v1-5-pruned.ckpt", "v1-5-pruned.safetensors",
    "feature_extractor/preprocessor_config.json", "safety_checker/config.json", "safety_checker/model.safetensors",
    "scheduler/scheduler_config.json", "text_encoder/config.json", "text_encoder/model.fp16.safetensors",
    "text_encoder/model.safetensors", "text_encoder/pytorch_model.bin", "tokenizer/merges.txt",
    "tokenizer/special_tokens_map.json", "tokenizer/tokenizer_config.json", "tokenizer/vocab.json", "unet/config.json",
    "unet/diffusion_pytorch_model.bin", "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.non_ema.safetensors", "unet/diffusion_pytorch_model.safetensors", "vae/config.json",
    "vae/diffusion_pytorch_model.fp16.safetensors", "vae/diffusion_pytorch_model.safetensors",
]  # fmt: skip
"""The files of a repository like Stable Diffusion 1.5's."""
READ = [
    "unet/config.json", "unet/diffusion_pytorch_model.safetensors", "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors", "text_encoder/config.json", "text_encoder/model.safetensors",
    "tokenizer/merges.txt", "tokenizer/special_tokens_map.json", "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json", "scheduler/scheduler_config.json",
]  # fmt: skip


class Hub(BaseHTTPRequestHandler):
    """Knows `somebody/sd15`, `somebody/pickled` and `somebody/gated`."""

    def do_GET(self) -> None:
        name = self.path.split("/api/models/")[-1].split("?")[0].removesuffix("/revision/main")
        known = {
            "somebody/sd15": SD15,
            "somebody/pickled": [f for f in SD15 if not f.startswith("vae/") or not f.endswith(".safetensors")]
            + ["vae/diffusion_pytorch_model.bin"],
        }
        if name in known:
            body = {"id": name, "sha": "0" * 40, "siblings": [{"rfilename": file} for file in known[name]]}
            return self._answer(200, {}, body)
        code, error = (403, "GatedRepo") if name == "somebody/gated" else (404, "RepoNotFound")
        self._answer(code, {"X-Error-Code": error, "X-Error-Message": error}, {"error": error})

    def _answer(self, code: int, headers: dict[str, str], body: dict[str, object]) -> None:
        self.send_response(code)
        for name, value in {**headers, "Content-Type": "application/json"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, format: str, *arguments: object) -> None:
        """Tests are quiet."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub's."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    yield
    server.shutdown()
    server.server_close()


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.mark.usefixtures("online")
def test_of_a_repository_only_what_is_needed_is_read() -> None:
    assert hub.check("somebody/sd15", hub.BASE) == READ


@pytest.mark.usefixtures("online")
@pytest.mark.parametrize(
    ("source", "parts", "problem"),
    [
        ("somebody/sd15", hub.WITH_CONTROLNET, "--base somebody/sd15: has no ControlNet (controlnet/config.json)"),
        ("somebody/sd15", hub.CONTROLNET, "--base somebody/sd15: has no ControlNet (config.json)"),
        ("somebody/pickled", hub.BASE, "--base somebody/pickled/vae: cannot be loaded: diffusion_pytorch_model.bin is"),
        ("somebody/gated", hub.BASE, "--base somebody/gated: is gated: accept its terms"),
        ("somebody/none", hub.BASE, "--base somebody/none: is neither a folder nor a model that the hub has for you"),
        ("no hub id", hub.BASE, "--base no hub id: is neither a folder in the diffusers layout nor a hub id"),
        ("some--body/-", hub.BASE, "--base some--body/-: is not a folder, and the hub does not give it"),
    ],
)
def test_what_cannot_be_a_base_is_said_in_one_line(source: str, parts: dict[str, str], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        hub.check(source, parts, "--base")
    assert str(caught.value).startswith(problem) and "\n" not in str(caught.value)


def put_in_cache(cache: Path, files: list[str]) -> Path:
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = cache / "models--somebody--sd15"
    for file in files:
        path = repository / "snapshots" / commit / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    return repository / "snapshots" / commit


@pytest.mark.usefixtures("unreachable")
def test_without_a_network_the_cache_is_asked(cache: Path) -> None:
    with pytest.raises(InputError, match=r"^--base somebody/sd15: is not a folder, .* nor is it in the hub's cache$"):
        hub.check("somebody/sd15", hub.BASE, "--base")
    snapshot = put_in_cache(cache, READ)
    assert hub.check("somebody/sd15", hub.BASE, "--base") == READ
    assert hub.find("somebody/sd15", hub.BASE) == snapshot
    (snapshot / "vae" / "config.json").unlink()
    with pytest.raises(InputError, match=r"--base somebody/sd15: has no vae/config.json"):
        hub.check("somebody/sd15", hub.BASE, "--base")


def test_offline_by_choice_is_the_same(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="offline"):
        hub.check("somebody/sd15", hub.BASE)
    snapshot = put_in_cache(cache, READ)
    assert hub.find("somebody/sd15", hub.BASE) == snapshot
