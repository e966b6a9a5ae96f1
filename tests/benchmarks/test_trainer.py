import re

import pytest
from typer import Typer
from typer.testing import CliRunner

from benchmarks.trainer import main


@pytest.fixture
def app() -> Typer:
    made = Typer()
    made.command()(main)
    return made


SMALL = ["--width", "32", "--size", "64", "--batch", "1", "--rounds", "1", "--steps", "1"]


def test_it_times_ours_beside_the_script_s_and_counts_the_same_work(app: Typer) -> None:
    ran = CliRunner().invoke(app, [*SMALL, "--precision", "bf16", "--pictures", "2"])
    assert ran.exit_code == 0, ran.output
    table = [line.strip("| ").split(" | ") for line in ran.output.splitlines() if line.startswith("| ")][1:]
    script, cached, default = table
    assert script[0] == "script, fp32" and script[3] == "1.00"
    work = [float(cells[4]) for cells in (script, cached, default)]
    assert work[0] > work[1] == work[2] > 0  # the VAE and the text encoder are left out
    assert re.search(r"scoring: 2 pictures of 64 px, 20 sampler steps .*, bf16: \d", ran.output)


def test_it_says_where_the_time_goes(app: Typer) -> None:
    ran = CliRunner().invoke(app, [*SMALL, "--profile"])
    assert ran.exit_code == 0, ran.output
    assert "aten::" in ran.output and "script" not in ran.output.splitlines()[0]
