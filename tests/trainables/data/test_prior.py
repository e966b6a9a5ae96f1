import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from spaces import InputError, Recipe
from trainables.base import Base
from trainables.data.prior import Prior, class_prior
from trainables.finetune import FineTune
from trainables.subject import Subject


def equal(a: Prior, b: Prior) -> bool:
    return torch.equal(a.mean, b.mean) and torch.equal(a.std, b.std) and a.captions == b.captions


def files(cache: Path) -> set[Path]:
    return set(cache.glob("*.safetensors"))


def test_class_pictures_have_the_prompts_without_the_token(base: Base, subject: Subject, tmp_path: Path) -> None:
    prior = class_prior(base, subject, 10, tmp_path)
    assert prior.mean.shape == prior.std.shape == (10, 4, 8, 8)
    assert torch.isfinite(prior.mean).all() and (prior.std > 0).all()
    assert prior.captions[:4] == (
        "a robot on grass",
        "a robot on sand",
        "a photo of the robot at night",
        "a robot on grass",
    )
    assert not torch.equal(prior.mean[0], prior.mean[3])


def test_they_are_drawn_once_for_each_base_class_and_count(base: Base, subject: Subject, tmp_path: Path) -> None:
    first = class_prior(base, subject, 2, tmp_path)
    (file,) = files(tmp_path)
    written = file.stat().st_mtime_ns
    assert equal(class_prior(base, subject, 2, tmp_path), first)
    assert file.stat().st_mtime_ns == written
    others = [
        class_prior(base, subject, 3, tmp_path),
        class_prior(base, replace(subject, class_noun="person"), 2, tmp_path),
        class_prior(replace(base, fingerprint="another"), subject, 2, tmp_path),
        class_prior(base, replace(subject, prompts=("a {name} on snow",)), 2, tmp_path),
    ]
    assert len(files(tmp_path)) == 1 + len(others)
    assert equal(class_prior(base, replace(subject, token="zwx"), 2, tmp_path), first)


def test_they_follow_from_nothing_else(base: Base, subject: Subject, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    first = class_prior(base, subject, 2, tmp_path / "a")
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert equal(class_prior(base, subject, 2, tmp_path / "b"), first)


def test_a_tuned_base_is_refused(base: Base, subject: Subject, tmp_path: Path) -> None:
    tune = FineTune(base, subject, Recipe(), seed=0)
    try:
        with pytest.raises(ValueError, match="take its adapters off first"):
            class_prior(base, subject, 2, tmp_path)
    finally:
        tune.remove()
    assert not files(tmp_path)


def test_a_cache_that_cannot_be_written_is_an_input_error(base: Base, subject: Subject, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot keep class pictures there"):
        class_prior(base, subject, 2, tmp_path / "file" / "cache")


ASK = """
import sys, torch
from trainables.base import Base
from trainables.data.prior import class_prior
from trainables.subject import Subject
torch.set_num_threads(1)
base, subject = Base.load(sys.argv[1]), Subject.load(sys.argv[2])
print("asking", flush=True)
print(class_prior(base, subject, 4, sys.argv[3]).mean.double().sum().item(), flush=True)
"""


def test_two_processes_that_ask_at_once_get_the_same(
    base: Base, subject: Subject, tiny_base: Path, tiny_subject: Path, tmp_path: Path
) -> None:
    """Both wait for one lock; then one draws and the other reads."""
    cache = tmp_path / "cache"
    class_prior(base, subject, 4, cache)
    (file,) = files(cache)
    file.unlink()
    command = [sys.executable, "-c", ASK, str(tiny_base), str(tiny_subject), str(cache)]
    with FileLock(f"{file}.lock"):
        other = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            cwd=Path(__file__).parents[3],
        )
        assert other.stdout.readline() == "asking\n"
    mine = class_prior(base, subject, 4, cache)
    theirs, _ = other.communicate(timeout=120)
    assert other.returncode == 0
    assert float(theirs) == pytest.approx(mine.mean.double().sum().item(), rel=1e-6)
    assert files(cache) == {file} and not list(cache.glob("*.partial"))
