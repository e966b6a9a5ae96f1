from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from spaces import Recipe
from trainables.adapters import Adapter, attach, is_adapted, text_encoder_config, unet_config
from trainables.base import Base

BLOCKS = 4
"""Transformer blocks of the tiny UNet: one on the way down, one in the middle, two on the way up."""


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> Base:
    return Base.load(tiny_base)


@pytest.fixture(autouse=True)
def _bare(base: Base) -> Iterator[None]:
    """Every test gives the base back bare."""
    yield
    assert not is_adapted(base.unet) and not is_adapted(base.text_encoder)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def predict(base: Base) -> Tensor:
    noise, words = torch.randn(2, 4, 8, 8, generator=generator()), torch.randn(2, 16, 32, generator=generator(1))
    with torch.no_grad():
        return base.unet(noise, torch.tensor([10, 900]), words).sample


def wake(adapter: Adapter) -> None:
    """B is zero at first, and the adapter without effect."""
    with torch.no_grad():
        for number, parameter in enumerate(adapter.parameters.values()):
            parameter.add_(torch.randn(parameter.shape, generator=generator(number)) * 0.1)


def snapshot(module: nn.Module) -> tuple[object, ...]:
    """All that could tell that something was there: the modules themselves, their hooks, their attributes."""
    modules = [(name, id(child), type(child)) for name, child in module.named_modules()]
    hooks = [
        (name, len(value))
        for child in module.modules()
        for name, value in vars(child).items()
        if name.endswith("hooks")
    ]
    return modules, hooks, sorted(vars(module)), [(n, p.requires_grad) for n, p in module.named_parameters()]


@pytest.mark.parametrize(
    ("targets", "layers"),
    [
        ("cross-kv", 2 * BLOCKS),
        ("cross-attention", 4 * BLOCKS),
        ("attention", 8 * BLOCKS),
        ("attention+ff", 10 * BLOCKS),
    ],
)
def test_targets_name_the_layers_that_they_say(base: Base, targets: str, layers: int) -> None:
    adapter = attach(base.unet, unet_config(Recipe(targets=targets)), generator())
    assert len(adapter.layers) == layers and len(adapter.parameters) == 2 * layers
    kinds = {name.split("transformer_blocks.0.")[1] for name in adapter.layers}
    attention = {"to_q", "to_k", "to_v", "to_out.0"}
    expected = {
        "cross-kv": {"attn2.to_k", "attn2.to_v"},
        "cross-attention": {f"attn2.{name}" for name in attention},
        "attention": {f"attn{n}.{name}" for n in (1, 2) for name in attention},
    }
    expected["attention+ff"] = expected["attention"] | {"ff.net.0.proj", "ff.net.2"}
    assert kinds == expected[targets]
    adapter.remove()


def test_the_text_encoder_s_attention_is_adapted(base: Base) -> None:
    assert text_encoder_config(Recipe()) is None
    recipe = Recipe(rank=4, alpha=8, text_encoder="lora", text_encoder_rank=2)
    adapter = attach(base.text_encoder, text_encoder_config(recipe), generator())
    assert {name.rsplit(".", 1)[1] for name in adapter.layers} == {"q_proj", "k_proj", "v_proj", "out_proj"}
    assert len(adapter.layers) == 8  # two layers of four
    assert {layer.scaling["default"] for layer in adapter.layers.values()} == {2.0}
    adapter.remove()


def test_a_new_adapter_is_without_effect_and_its_scale_is_alpha_over_rank(base: Base) -> None:
    before = predict(base)
    adapter = attach(base.unet, unet_config(Recipe(rank=4, alpha=6)), generator())
    assert torch.equal(predict(base), before)
    assert {layer.scaling["default"] for layer in adapter.layers.values()} == {1.5}
    wake(adapter)
    assert not torch.equal(predict(base), before)
    adapter.remove()


def test_its_first_values_follow_from_the_generator_alone(base: Base) -> None:
    def values(seed: int) -> tuple[dict[str, Tensor], Tensor]:
        own = generator(seed)
        adapter = attach(base.unet, unet_config(Recipe(rank=8)), own)
        adapter.remove()
        return {name: parameter.detach().clone() for name, parameter in adapter.parameters.items()}, own.get_state()

    first, state = values(3)
    torch.rand(7)
    again, state_again = values(3)
    other, _ = values(4)
    assert torch.equal(state, state_again)
    assert all(torch.equal(first[name], again[name]) for name in first)
    a = [name for name in first if "lora_A" in name]
    assert not any(torch.equal(first[name], other[name]) for name in a)
    assert torch.cat([first[name].flatten() for name in a]).std().item() == pytest.approx(1 / 8, rel=0.05)
    assert all((first[name] == 0).all() for name in first if "lora_B" in name)


def test_the_global_generator_is_left_alone(base: Base) -> None:
    before = torch.get_rng_state()
    adapter = attach(base.unet, unet_config(Recipe(dropout=0.5)), generator())
    with adapter.dropping(1):
        predict(base)
    adapter.remove()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_removal_leaves_no_trace(tiny_base: Path, dropout: float) -> None:
    base = Base.load(tiny_base)
    recipe = Recipe(targets="attention+ff", dropout=dropout, text_encoder="lora")
    modules = {"unet": base.unet, "text_encoder": base.text_encoder}
    before = {name: snapshot(module) for name, module in modules.items()}
    weights = {n: p.clone() for module in modules.values() for n, p in module.named_parameters()}
    predicted = predict(base)
    for module, config in ((base.unet, unet_config(recipe)), (base.text_encoder, text_encoder_config(recipe))):
        adapter = attach(module, config, generator())
        wake(adapter)
        adapter.remove()
    assert {name: snapshot(module) for name, module in modules.items()} == before
    assert all(torch.equal(p, weights[n]) for module in modules.values() for n, p in module.named_parameters())
    assert torch.equal(predict(base), predicted)


def test_what_trains_is_fp32_on_a_bf16_base(tiny_base: Path) -> None:
    base = Base.load(tiny_base, precision="bf16")
    adapter = attach(base.unet, unet_config(Recipe(targets="cross-kv")), generator())
    assert {p.dtype for p in adapter.parameters.values()} == {torch.float32}
    training = {name for name, p in base.unet.named_parameters() if p.requires_grad}
    assert len(training) == len(adapter.parameters) and all("lora_" in name for name in training)


def test_dropout_is_on_inside_dropping_only_and_follows_from_its_seed(base: Base) -> None:
    adapter = attach(base.unet, unet_config(Recipe(dropout=0.3)), generator())
    wake(adapter)

    def dropped(seed: int) -> Tensor:
        with adapter.dropping(seed):
            return predict(base)

    assert torch.equal(predict(base), predict(base))
    assert torch.equal(dropped(1), dropped(1))
    assert not torch.equal(dropped(1), dropped(2)) and not torch.equal(dropped(1), predict(base))
    adapter.remove()


def test_dropout_keeps_the_mean(base: Base) -> None:
    adapter = attach(base.unet, unet_config(Recipe(dropout=0.25)), generator())
    dropout = adapter.dropouts[0]
    with adapter.dropping(0):
        dropped = dropout(torch.ones(100_000))
    assert sorted(set(dropped.tolist())) == [0.0, pytest.approx(4 / 3)]
    assert dropped.mean().item() == pytest.approx(1, abs=0.01)
    adapter.remove()


def test_two_adapters_on_one_module_are_refused(base: Base) -> None:
    adapter = attach(base.unet, unet_config(Recipe()), generator())
    with pytest.raises(ValueError, match="carries an adapter already"):
        attach(base.unet, unet_config(Recipe()), generator())
    adapter.remove()
