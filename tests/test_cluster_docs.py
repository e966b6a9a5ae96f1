"""The guide to clusters: its commands are there, its file is valid, and its example is what is printed."""

import re
from pathlib import Path

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from search.cli import app
from search.cluster.check import check_cluster

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    """All that is called after a prompt, lines that go on joined."""
    return [
        line
        for block in re.findall(r"```console\n(.*?)```", GUIDE, re.DOTALL)
        for line in re.sub(r"\\\\\n\s*", "", block).splitlines()
        if line.startswith("$ ")
    ]


def test_a_front_is_ten_commands_away():
    walk = GUIDE.split("## From an empty AWS account to a front")[1].split("##")[0]
    assert [int(number) for number in re.findall(r"  # ?(\d+)", walk)] == list(range(1, 11))
    assert walk.count("\n$ ") == 10


def test_our_commands_and_their_options_are_there():
    ours = get_command(app)
    for line in commands():
        words = line.removeprefix("$ ").split("#")[0].split()
        if words[0] != "posefront" or words[1] == "submit":  # whose options are a sweep's
            continue
        command = ours.commands[words[1]]
        if hasattr(command, "commands"):
            command = command.commands[words[2]]
        known = {name for option in command.params for name in option.opts}
        assert {word for word in words if word.startswith("--")} <= known, line


def test_rays_commands_and_their_options_are_there():
    from ray.scripts.scripts import cli

    for line in commands():
        if match := re.search(r"(?:^\$ |token )ray ([a-z-]+)(.*?)(?:#|$)", line):
            known = {name for option in cli.commands[match[1]].params for name in option.opts}
            assert {word for word in match[2].split() if word.startswith("-")} <= known, line


def test_the_example_of_the_check_is_what_it_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))
    config["provider"]["regoin"] = config["provider"].pop("region")
    config["available_node_types"]["head"]["node_config"]["InstanceMarketOptions"] = {"MarketType": "spot"}
    _with_mounts(tmp_path, monkeypatch)
    (tmp_path / "changed.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["cluster", "check", "changed.yaml"])
    assert done.exit_code == 1
    assert done.output.strip() == re.search(r"cluster check changed.yaml\n(.*?)```", GUIDE, re.DOTALL)[1].strip()


def test_the_file_for_google_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With what the guide says to leave out left out."""
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))
    config |= yaml.safe_load(re.search(r"```yaml\n(provider:\n  type: gcp.*?)```", GUIDE, re.DOTALL)[1])
    for key, said in config.items():
        if key.endswith("commands"):
            config[key] = [command for command in said if "firewall" not in command and "spot-notice" not in command]
    _with_mounts(tmp_path, monkeypatch)
    (tmp_path / "google.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    [finding] = check_cluster(tmp_path / "google.yaml")
    assert finding.kind == "warn" and "only AWS's are" in finding.text


def _with_mounts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home with a token, and a folder with what the file's mounts name."""
    (folder / ".ray").mkdir()
    (folder / ".ray" / "auth_token").write_text("a" * 64, encoding="utf-8")
    monkeypatch.setenv("HOME", str(folder))
    for name in ("spaces", "trainables", "search", "analysis", "benchmarks"):
        (folder / name).mkdir()
    for name in ("pyproject.toml", "README.md", "constraints.txt"):
        (folder / name).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
