"""How a step is computed changes its time and memory, and not its result."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from spaces import Recipe
from tests.trainables.test_methods import METHODS
from trainables.base import Base
from trainables.engine import DEFAULT, Engine
from trainables.finetune import FineTune
from trainables.job import Job

EVERYTHING = METHODS["everything"] | {"rank": 4}
IMAGES = {"rank": 4, "batch_size": 2, "prior": "images", "dropout": 0.3, "pose_from": 1, "text_encoder": "lora"}


Make = Callable[..., FineTune]


@pytest.fixture
def tune(tune: Make) -> Make:
    """By a recipe's fields."""
    return lambda fields, **how: tune(Recipe(**fields), **how)


def gradients(fine: FineTune, steps: int = 3) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradient of the batch after some steps, when no B is zero."""
    fine.advance(steps)
    fine._enter_stage()
    loss = fine._accumulate(fine._feed.draw(fine._generator, fine._posed)).item()
    return loss, {name: p.grad.clone() for name, p in fine.parameters.items() if p.grad is not None}


def assert_close(found: tuple[float, dict[str, Tensor]], expected: tuple[float, dict[str, Tensor]]) -> None:
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    assert found[1].keys() == expected[1].keys() != set()
    for name, gradient in expected[1].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-3, atol=1e-5 * gradient.abs().max().item() + 1e-9)


@pytest.mark.parametrize("fields", [EVERYTHING, IMAGES])
@pytest.mark.parametrize("size", [1, 4])
def test_micro_batches_have_the_gradient_of_the_whole(tune: Make, fields: dict[str, object], size: int) -> None:
    whole = tune(fields)
    whole.advance(2)
    state = whole.state()
    expected = gradients(whole, 0)
    parts = tune(fields, engine=Engine(micro_batch=size))
    parts.load(state)
    assert_close(gradients(parts, 0), expected)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: 12"),
    ],
    ids=["card", "host"],
)
def test_a_batch_that_does_not_fit_is_halved_until_it_does(tune: Make, base: Base, error: RuntimeError) -> None:
    whole = tune(EVERYTHING)
    whole.advance(2)
    state, calls = whole.state(), []
    expected = gradients(whole, 0)
    fine = tune(EVERYTHING)
    fine.load(state)

    def full(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        calls.append(len(args[0]))
        if len(args[0]) > limit:
            raise error

    handle = base.unet.register_forward_pre_hook(full)
    try:
        limit = 2
        assert_close(gradients(fine, 0), expected)
        assert fine._micro_batch == 2 and calls[0] == 3  # of 6 samples the 3 with the base's predictions as targets
        calls.clear()
        fine.advance(2)
        assert max(calls) == 2  # it remembers
        limit = 0
        with pytest.raises(type(error)):
            fine.advance(1)
    finally:
        handle.remove()


def test_another_error_is_not_tried_again_with_less(tune: Make, base: Base) -> None:
    fine, calls = tune(EVERYTHING), []

    def broken(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        calls.append(len(args[0]))
        raise RuntimeError("a tensor of 3 and one of 4 do not match")

    handle = base.unet.register_forward_pre_hook(broken)
    try:
        with pytest.raises(RuntimeError, match="do not match"):
            fine.advance(1)
    finally:
        handle.remove()
    assert len(calls) == 1


def test_a_trial_with_a_part_of_a_card_asks_for_more_instead(tune: Make, base: Base) -> None:
    fine = tune(EVERYTHING, engine=Engine(halves=False))
    calls = []

    def full(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        calls.append(len(args[0]))
        raise torch.OutOfMemoryError("CUDA out of memory")

    handle = base.unet.register_forward_pre_hook(full)
    try:
        with pytest.raises(torch.OutOfMemoryError):
            fine.advance(1)
    finally:
        handle.remove()
    assert len(calls) == 1


@pytest.mark.parametrize("kind", ["input", "output", "rank", "module"])
def test_gradient_checkpointing_changes_nothing(tune: Make, base: Base, kind: str) -> None:
    """Also with dropout, whose masks are drawn again when activations are computed again."""
    fields = {**EVERYTHING, "dropout_kind": kind}
    expected = gradients(tune(fields))
    fine = tune(fields, engine=Engine(gradient_checkpointing=True))
    assert base.unet.is_gradient_checkpointing and base.controlnet.is_gradient_checkpointing
    found = gradients(fine)
    assert_close(found, expected)
    fine.remove()
    assert not base.unet.is_gradient_checkpointing and not base.controlnet.is_gradient_checkpointing


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_compiled_models_predict_the_same(tune: Make) -> None:
    fields = {"rank": 4, "batch_size": 2}
    expected = gradients(tune(fields), 1)
    assert_close(gradients(tune(fields, engine=Engine(compile=True)), 1), expected)


def test_a_job_says_how_its_steps_are_computed() -> None:
    job = Job(folder="f", cache="c", subject="s", rungs=(1,), micro_batch=2, gradient_checkpointing=True)
    assert job.engine == Engine(micro_batch=2, gradient_checkpointing=True)
    assert Job(folder="f", cache="c", subject="s", rungs=(1,)).engine == DEFAULT
