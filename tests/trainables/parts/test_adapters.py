import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from spaces import Recipe
from trainables.base import Base
from trainables.parts.adapters import Adapter, attach, controlnet_config, is_adapted, text_encoder_config, unet_config
from trainables.parts.masks import Masking, ranks

BLOCKS = 4
"""Transformer blocks of the tiny UNet: one on the way down, one in the middle, two on the way up."""


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
        ("transformer", 12 * BLOCKS),
    ],
)
def test_targets_name_the_layers_that_they_say(base: Base, targets: str, layers: int) -> None:
    adapter = attach(base.unet, unet_config(Recipe(targets=targets)), generator())
    assert len(adapter.layers) == layers and len(adapter.parameters) == 2 * layers
    kinds = {re.split(r"attentions\.\d\.(?:transformer_blocks\.0\.)?", name)[1] for name in adapter.layers}
    attention = {"to_q", "to_k", "to_v", "to_out.0"}
    expected = {
        "cross-kv": {"attn2.to_k", "attn2.to_v"},
        "cross-attention": {f"attn2.{name}" for name in attention},
        "attention": {f"attn{n}.{name}" for n in (1, 2) for name in attention},
    }
    expected["attention+ff"] = expected["attention"] | {"ff.net.0.proj", "ff.net.2"}
    expected["transformer"] = expected["attention+ff"] | {"proj_in", "proj_out"}
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
    adapter = masked(base, dropout=0.5)
    with adapter.dropping(1):
        predict(base)
    adapter.remove()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize(("init", "kind"), [("gaussian", "lora"), ("pissa", "dora"), ("orthogonal", "rslora")])
def test_removal_leaves_no_trace(tiny_base: Path, dropout: float, init: str, kind: str) -> None:
    base = Base.load(tiny_base)
    schedule = "constant" if init == "pissa" else "timestep"
    recipe = Recipe(
        targets="transformer", dropout=dropout, text_encoder="lora", adapter=kind, init=init, rank_schedule=schedule
    )
    modules = {"unet": base.unet, "text_encoder": base.text_encoder}
    before = {name: snapshot(module) for name, module in modules.items()}
    weights = {n: p.clone() for module in modules.values() for n, p in module.named_parameters()}
    predicted = predict(base)
    for part, module in modules.items():
        config = {"unet": unet_config, "text_encoder": text_encoder_config}[part](recipe)
        adapter = attach(module, config, generator(), init, Masking.of(recipe, part))
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


def masked(base: Base, **changes: object) -> Adapter:
    recipe = Recipe(targets="transformer", **changes)
    adapter = attach(base.unet, unet_config(recipe), generator(), masking=Masking.of(recipe, "unet"))
    wake(adapter)
    return adapter


@pytest.mark.parametrize("kind", ["input", "output", "rank", "module"])
@pytest.mark.parametrize("adapter", ["lora", "dora"])
def test_dropout_is_on_inside_dropping_only_and_follows_from_its_seed(base: Base, kind: str, adapter: str) -> None:
    lora = masked(base, dropout=0.3, dropout_kind=kind, adapter=adapter)

    def dropped(seed: int) -> Tensor:
        with lora.dropping(seed):
            return predict(base)

    assert torch.equal(predict(base), predict(base))
    assert torch.equal(dropped(1), dropped(1))
    assert not torch.equal(dropped(1), dropped(2)) and not torch.equal(dropped(1), predict(base))
    lora.remove()


@pytest.mark.parametrize(
    ("kind", "shape", "block"),
    [
        ("input", (2, 500, 40), (1, 1, 1)),
        ("output", (2, 500, 40), (1, 1, 1)),
        ("output", (2, 40, 20, 30), (1, 1, 1, 1)),
        ("rank", (900, 7, 40), (1, 7, 1)),
        ("rank", (900, 40, 3, 4), (1, 1, 3, 4)),
        ("module", (4, 7, 40), (4, 7, 40)),
    ],
)
def test_what_is_dropped_together_and_that_the_mean_stays(
    base: Base, kind: str, shape: tuple[int, ...], block: tuple[int, ...]
) -> None:
    """`block` is what is kept or dropped as one; all but whole layers grow by what is missing."""
    lora = masked(base, dropout=0.25, dropout_kind=kind)
    grown = 1.0 if kind == "module" else 4 / 3
    means = []
    for number in range(40 if kind == "module" else 1):
        with lora.dropping(5):
            dropped = lora.masks._dropped(torch.ones(shape), number)
        assert all(value in (0.0, pytest.approx(grown)) for value in dropped.unique().tolist())
        for axis, size in enumerate(block):
            if size > 1:
                assert torch.equal(dropped, dropped.narrow(axis, 0, 1).expand_as(dropped))
        means.append(dropped.mean().item())
    expected = 0.75 if kind == "module" else 1.0
    assert sum(means) / len(means) == pytest.approx(expected, abs=0.2 if kind == "module" else 0.02)
    if kind == "module":
        assert set(means) == {0.0, 1.0}
    lora.remove()


@pytest.mark.parametrize("kind", ["input", "output", "rank", "module"])
def test_a_part_of_a_batch_drops_what_it_drops_within_the_whole(base: Base, kind: str) -> None:
    lora = masked(base, dropout=0.4, dropout_kind=kind)
    x = torch.randn(5, 3, 8, generator=generator())
    with lora.dropping(3):
        whole = lora.masks._dropped(x, 1)
        other_layer = lora.masks._dropped(x, 2)
    parts = []
    for first, stop in ((0, 2), (2, 5)):
        with lora.dropping(3, first, 5):
            parts.append(lora.masks._dropped(x[first:stop], 1))
    assert torch.equal(torch.cat(parts), whole)
    assert kind == "module" or not torch.equal(whole, other_layer)
    lora.remove()


def test_the_rank_falls_from_all_to_the_least() -> None:
    t = torch.arange(1001)
    found = ranks(t, 16, 4, 1000)
    assert found[0] == 16 and found[1000] == 4 and (found.diff() <= 0).all()
    assert found[500] == 10 and set(found.tolist()) == set(range(4, 17))


def test_each_sample_has_the_rank_of_its_timestep(base: Base) -> None:
    """At the most noise the components above the least are as if they were zero; without noise all are there."""
    lora = masked(base, rank=8, rank_schedule="timestep", min_rank=2)
    noise, words = torch.randn(2, 4, 8, 8, generator=generator()), torch.randn(2, 16, 32, generator=generator(1))

    @torch.no_grad()
    def at(*timesteps: int) -> Tensor:
        return base.unet(noise, torch.tensor(timesteps), words).sample

    mixed, early, late = at(0, 999), at(0, 0), at(999, 999)
    with torch.no_grad():  # as the pipeline calls it: one timestep for all
        torch.testing.assert_close(base.unet(noise, torch.tensor(999), encoder_hidden_states=words).sample, late)
    torch.testing.assert_close(mixed, torch.stack([early[0], late[1]]), rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        for name, parameter in lora.parameters.items():
            if "lora_A" in name:
                parameter[2:] = 0
    torch.testing.assert_close(at(999, 999), late)
    assert (at(0, 0) - early).abs().max() > 1e-3
    lora.remove()


def test_the_scale_of_each_kind(base: Base) -> None:
    for adapter, scale in (("lora", 6 / 4), ("rslora", 6 / 2), ("dora", 6 / 4)):
        lora = attach(base.unet, unet_config(Recipe(rank=4, alpha=6, adapter=adapter)), generator())
        assert {layer.scaling["default"] for layer in lora.layers.values()} == {scale}
        assert any("magnitude" in name for name in lora.parameters) == (adapter == "dora")
        lora.remove()


def test_dora_keeps_direction_and_magnitude_apart(base: Base) -> None:
    """W' = m (W + s B A) / ||W + s B A||, by the rows of W (Liu et al. 2024, eq. 5)."""
    lora = masked(base, rank=2, alpha=3, adapter="dora")
    name = next(name for name in lora.layers if name.endswith("attn2.to_k"))
    layer, p = lora.layers[name], lora.parameters
    direction = layer.get_base_layer().weight + 1.5 * p[f"{name}.lora_B.weight"] @ p[f"{name}.lora_A.weight"]
    weight = p[f"{name}.lora_magnitude_vector"][:, None] * direction / direction.norm(dim=1, keepdim=True)
    x = torch.randn(2, 5, weight.shape[1], generator=generator())
    torch.testing.assert_close(layer(x), x @ weight.T)
    lora.remove()


@pytest.mark.parametrize("init", ["gaussian", "kaiming", "orthogonal", "pissa"])
@pytest.mark.parametrize("kind", ["lora", "rslora", "dora"])
@pytest.mark.parametrize("rank", [1, 5, 40])
def test_first_values_change_nothing_and_follow_from_the_generator(base: Base, init: str, kind: str, rank: int) -> None:
    """Also at a rank above that of the smallest weights, and at odd ones."""
    before, weights = predict(base), {name: p.clone() for name, p in base.unet.named_parameters()}
    config = unet_config(Recipe(targets="transformer", rank=rank, alpha=2 * rank, adapter=kind))
    made = []
    for _ in range(2):
        lora = attach(base.unet, config, generator(1), init)
        torch.testing.assert_close(predict(base), before, rtol=1e-3, atol=2e-5)
        made.append({name: p.detach().clone() for name, p in lora.parameters.items()})
        with lora.off():
            assert torch.equal(predict(base), before)
        torch.testing.assert_close(predict(base), before, rtol=1e-3, atol=2e-5)
        lora.remove()
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])
    assert all(torch.equal(p, weights[name]) for name, p in base.unet.named_parameters())
    moving = [n for n in made[0] if "lora_A" in n and init != "pissa"]
    assert all(made[0][n].abs().sum() > 0 for n in moving)


def test_pissa_takes_the_principal_components(base: Base) -> None:
    name = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    weight = base.unet.get_submodule(name).weight.clone()
    lora = attach(base.unet, unet_config(Recipe(rank=3, alpha=6)), generator(), "pissa")
    product = 2 * lora.parameters[f"{name}.lora_B.weight"] @ lora.parameters[f"{name}.lora_A.weight"]
    u, s, v = torch.linalg.svd(weight)
    torch.testing.assert_close(product, u[:, :3] * s[:3] @ v[:3], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(lora.layers[name].get_base_layer().weight, weight - product, rtol=1e-4, atol=1e-5)
    assert torch.equal(lora.first[f"{name}.lora_A.weight"], lora.parameters[f"{name}.lora_A.weight"])
    lora.remove()


def test_the_controlnet_s_attention_is_adapted(base: Base) -> None:
    assert controlnet_config(Recipe()) is None
    recipe = Recipe(rank=4, alpha=8, pose_from=0, pose_trains="both", controlnet_rank=2)
    adapter = attach(base.controlnet, controlnet_config(recipe), generator())
    assert len(adapter.layers) == 2 * 8  # one block on the way down, one in the middle
    assert {layer.scaling["default"] for layer in adapter.layers.values()} == {2.0}
    adapter.remove()
    assert not is_adapted(base.controlnet)


def test_two_adapters_on_one_module_are_refused(base: Base) -> None:
    adapter = attach(base.unet, unet_config(Recipe()), generator())
    with pytest.raises(ValueError, match="carries an adapter already"):
        attach(base.unet, unet_config(Recipe()), generator())
    adapter.remove()
