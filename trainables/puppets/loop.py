"""One training loop for all the puppets' models: AdamW, one-cycle rate, moving average of the weights, resumable."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from trainables.puppets import parallel

_SAVE_EVERY = 200
_ATTENTION = SDPBackend.MATH
"""With these short sequences the backward pass of the flash kernel takes longer than all else on a CPU."""


def fit(
    name: str,
    module: nn.Module,
    loss: Callable[[torch.Generator, int], torch.Tensor],
    steps: int,
    learning_rate: float,
    work: Path,
    seed: int,
    ema: float = 0.998,
) -> None:
    """Trains the parameters of `module` that require a gradient and leaves their moving average in them.

    `loss(generator, step)` draws its own batch; step k's generator depends on (seed, k) alone, so that an interrupted
    training goes on from `work/NAME.safetensors` as if nothing had happened. A finished one is read back. Where several
    processes train together, a loss may be that of this one's part of the batch.
    """
    parameters = {k: p for k, p in module.named_parameters() if p.requires_grad}
    average = {k: p.detach().clone() for k, p in parameters.items()}
    optimizer = torch.optim.AdamW(parameters.values(), learning_rate, weight_decay=1e-2, betas=(0.9, 0.99))
    path = work / f"{name}.safetensors"
    start = _load(path, parameters, average, optimizer) if path.exists() else 0
    warm_up = max(1, min(200, steps // 10))
    recent: list[float] = []
    for step in _progress(name, start, steps, recent):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * _one_cycle(step, steps, warm_up)
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        optimizer.zero_grad(set_to_none=True)
        with sdpa_kernel(_ATTENTION):
            value = loss(generator, step)
            value.backward()
        parallel.average_gradients(parameters.values())
        nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimizer.step()
        decay = min(ema, (step + 1) / (step + 10))
        torch._foreach_lerp_(list(average.values()), [p.detach() for p in parameters.values()], 1 - decay)
        recent.append(float(value.detach()))
        if parallel.is_first() and ((step + 1) % _SAVE_EVERY == 0 or step + 1 == steps):
            _save(path, parameters, average, optimizer, step + 1)
    with torch.no_grad():
        for key, parameter in parameters.items():
            parameter.copy_(average[key])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within it, torch's global generator starts from the seed, for new layers; then it is as before."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        yield


def _one_cycle(step: int, steps: int, warm_up: int) -> float:
    """Linear up, then a half cosine down to a hundredth."""
    if step < warm_up:
        return (step + 1) / warm_up
    progress = (step - warm_up) / max(1, steps - warm_up)
    return 0.01 + 0.99 * 0.5 * (1 + float(torch.cos(torch.tensor(progress * torch.pi))))


def _progress(name: str, start: int, steps: int, recent: list[float]) -> Iterator[int]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not parallel.is_first()) as progress:
        task = progress.add_task(name, total=steps, completed=start)
        for step in range(start, steps):
            yield step
            mean = sum(recent[-100:]) / len(recent[-100:])
            progress.update(task, completed=step + 1, description=f"{name} loss {mean:.4f}")
            if parallel.is_first() and not progress.console.is_terminal and (step + 1) % 100 == 0:
                print(json.dumps({"stage": name, "step": step + 1, "of": steps, "loss": round(mean, 5)}), flush=True)


def _save(
    path: Path,
    parameters: dict[str, nn.Parameter],
    average: dict[str, torch.Tensor],
    optimizer: torch.optim.Optimizer,
    step: int,
) -> None:
    tensors = {"step": torch.tensor(step)}
    for key, parameter in parameters.items():
        state = optimizer.state[parameter]
        tensors |= {f"weight.{key}": parameter.detach(), f"average.{key}": average[key]}
        tensors |= {f"{part}.{key}": state[part] for part in ("exp_avg", "exp_avg_sq", "step")}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file({k: v.contiguous().cpu() for k, v in tensors.items()}, partial)
    partial.replace(path)


def _load(
    path: Path, parameters: dict[str, nn.Parameter], average: dict[str, torch.Tensor], optimizer: torch.optim.Optimizer
) -> int:
    tensors = load_file(path)
    with torch.no_grad():
        for key, parameter in parameters.items():
            parameter.copy_(tensors[f"weight.{key}"])
            average[key].copy_(tensors[f"average.{key}"])
            state = {part: tensors[f"{part}.{key}"] for part in ("exp_avg", "exp_avg_sq", "step")}
            optimizer.state[parameter] = {k: v if k == "step" else v.to(parameter.device) for k, v in state.items()}
    return int(tensors["step"])
