"""Two processes that train together do what one does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from trainables.puppets.parallel import first_process_first, is_first, part_of

ROOT = Path(__file__).parents[3]
PROGRAM = """
import sys, torch
from pathlib import Path
from torch import nn
from trainables.puppets import parallel
from trainables.puppets.loop import fit, seeded

parallel.join()
with seeded(0):
    module = nn.Linear(3, 1)
def loss(generator, step):
    x = parallel.part_of(torch.randn(16, 3, generator=generator))
    return (module(x) - x.sum(1, keepdim=True)).square().mean()
fit("line", module, loss, 40, 1e-2, Path(sys.argv[1]), seed=1)
parallel.leave()
"""


def trained(folder: Path, *launcher: str) -> dict[str, torch.Tensor]:
    program = folder / "program.py"
    folder.mkdir()
    program.write_text(PROGRAM, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [*launcher, str(program), str(folder)]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return load_file(folder / "line.safetensors")


def test_two_processes_train_what_one_trains(tmp_path):
    alone = trained(tmp_path / "one", sys.executable)
    together = trained(
        tmp_path / "two", sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"
    )
    assert alone["step"] == together["step"] == 40
    for name, value in alone.items():
        assert torch.allclose(value, together[name], atol=1e-5), name
    assert not torch.allclose(alone["weight.weight"], torch.zeros(1, 3), atol=0.1)


def test_a_process_alone_takes_the_whole_batch(tmp_path):
    batch = torch.arange(6)
    assert is_first() and torch.equal(part_of(batch), batch)
    with first_process_first():
        (tmp_path / "file").touch()


def test_a_batch_that_does_not_split_evenly_is_refused(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 4)
    with pytest.raises(ValueError, match="6 does not split among 4"):
        part_of(torch.arange(6))
