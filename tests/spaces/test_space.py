import re
from pathlib import Path

import numpy as np
import pytest

from spaces import Inference, InputError, Range, Recipe, load_space, parse_space, shipped_spaces

GOOD = """\
about: a space
rungs: [10, 20]
objectives: [identity, pose]
recipe:
  rank: {low: 1, high: 4, log: true}
  dropout: {low: 0.0, high: 0.5}
  text_encoder: [frozen, lora]
  text_encoder_rank: {low: 2, high: 8, when: {text_encoder: lora}}
  batch_size: 2
"""


@pytest.mark.parametrize("name", shipped_spaces())
def test_every_point_of_a_shipped_space_is_a_recipe_of_it(name):
    space, generator = load_space(name), np.random.default_rng(0)
    for draw in [space.sample] * 300 + [space.sample_prior] * 300:
        values = draw(generator)
        assert isinstance(space.recipe(values), Recipe)
        for parameter in space.parameters:
            assert (parameter.name in values) == space.active(parameter, values)


def test_conditions_hold():
    space, generator = parse_space(GOOD, "x"), np.random.default_rng(1)
    recipes = [space.recipe(space.sample(generator)) for _ in range(60)]
    assert {r.text_encoder for r in recipes} == {"frozen", "lora"}
    assert all((r.text_encoder_rank is None) == (r.text_encoder == "frozen") for r in recipes)
    assert all(2 <= r.text_encoder_rank <= 8 for r in recipes if r.text_encoder == "lora")
    assert all(r.batch_size == 2 for r in recipes)


def test_a_range_reaches_both_ends_evenly():
    generator = np.random.default_rng(2)
    whole = [Range("rank", 1, 4, integer=True).sample(generator) for _ in range(4000)]
    counts = np.bincount(whole)[1:]
    assert counts.tolist() == pytest.approx([1000] * 4, rel=0.15)
    logs = np.log10([Range("rate", 1e-4, 1e-2, log=True).sample(generator) for _ in range(2000)])
    assert np.mean(logs < -3) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(("low", "high", "integer"), [(1, 64, True), (2, 3, True), (0.001, 0.5, False)])
def test_many_quantiles_settle_at_once_where_their_values_are(low, high, integer, log):
    parameter, quantiles = Range("x", low, high, log, integer), np.random.default_rng(3).random(200)
    each = [parameter.quantile(parameter.at(q)) for q in quantiles.tolist()]
    np.testing.assert_allclose(parameter.settled(quantiles), each, rtol=0, atol=1e-12)


def test_a_condition_may_have_several_values():
    text = GOOD.replace("[frozen, lora]", "[frozen, lora]\n  targets: [attention, cross-kv, cross-attention]")
    text = text.replace("{low: 0.0, high: 0.5}", "{low: 0.1, high: 0.5, when: {targets: [cross-kv, attention]}}")
    space, generator = parse_space(text, "x"), np.random.default_rng(1)
    recipes = [space.recipe(space.sample(generator)) for _ in range(60)]
    assert {r.targets for r in recipes} == {"attention", "cross-kv", "cross-attention"}
    assert all((r.dropout > 0) == (r.targets != "cross-attention") for r in recipes)


def test_a_field_that_is_not_drawn_has_its_default_for_the_conditions_of_others():
    text = GOOD + "  unet: {choice: [lora, full-kv], when: {text_encoder: lora}}\n"
    text += "  caption_dropout: {low: 0.1, high: 0.2, when: {unet: lora}}\n"
    text += "  text_encoder_until: {choice: [5, 7], when: {text_encoder_rank: null}}\n"
    with pytest.raises(InputError, match="text_encoder_rank is a range"):
        parse_space(text, "x")
    space, generator = (
        parse_space(text.replace("text_encoder_rank: null", "unet: full-kv"), "x"),
        np.random.default_rng(1),
    )
    points = [space.sample(generator) for _ in range(60)]
    for point in points:
        assert ("caption_dropout" in point) == (point.get("unet", "lora") == "lora")
        assert ("text_encoder_until" in point) == (point.get("unet") == "full-kv")
    assert {point.get("unet") for point in points} == {None, "lora", "full-kv"}


def test_a_prior_of_a_range_is_normal_in_its_own_scale():
    generator = np.random.default_rng(3)
    draw = lambda parameter: [parameter.sample_prior(generator) for _ in range(4000)]  # noqa: E731
    logs = np.log(draw(Range("rate", 1e-6, 1e-1, log=True, prior=1e-3, spread=2.0)))
    assert np.median(logs) == pytest.approx(np.log(1e-3), abs=0.05) and logs.std() == pytest.approx(np.log(2), rel=0.1)
    plain = draw(Range("dropout", 0.0, 0.4, prior=0.2, spread=0.05))
    assert np.mean(plain) == pytest.approx(0.2, abs=0.005) and np.std(plain) == pytest.approx(0.05, rel=0.1)
    whole = draw(Range("rank", 1, 64, log=True, integer=True, prior=16))
    assert set(map(type, whole)) == {int} and min(whole) >= 1 and max(whole) <= 64
    at_the_end = draw(Range("dropout", 0.0, 0.4, prior=0.0))
    assert min(at_the_end) >= 0 and np.mean(at_the_end) == pytest.approx(0.1 * np.sqrt(2 / np.pi), rel=0.05)
    certain = draw(Range("rate", 1e-6, 1e-1, log=True, prior=1e-1, spread=1 + 1e-9))
    assert min(certain) == pytest.approx(1e-1) and max(certain) <= 1e-1 * (1 + 1e-9)


def test_a_prior_of_a_choice_is_its_weights_and_what_has_none_is_left_to_even_draws():
    text = GOOD.replace("[frozen, lora]", "{choice: [frozen, lora], prior: {lora: 3, frozen: 1}}")
    text += "  min_snr_gamma: {choice: [null, 5.0, 1.0], prior: {null: 1, 5.0: 1}}\n"
    text += "  targets: {choice: [cross-kv, attention], prior: [1, 4]}\n"
    space, generator = parse_space(text, "x"), np.random.default_rng(4)
    drawn = [space.sample_prior(generator) for _ in range(2000)]
    share = lambda name, value, points: np.mean([point[name] == value for point in points])  # noqa: E731
    assert share("text_encoder", "lora", drawn) == pytest.approx(0.75, abs=0.03)
    assert share("targets", "attention", drawn) == pytest.approx(0.8, abs=0.03)
    assert share("min_snr_gamma", 1.0, drawn) == 0 < share("min_snr_gamma", None, drawn)
    even = [space.sample(generator) for _ in range(2000)]
    assert share("text_encoder", "lora", even) == pytest.approx(0.5, abs=0.04)
    assert share("min_snr_gamma", 1.0, even) == pytest.approx(1 / 3, abs=0.04)


def test_without_a_prior_both_ways_to_draw_are_one():
    space = parse_space(GOOD, "x")
    assert space.sample(np.random.default_rng(5)) == space.sample_prior(np.random.default_rng(5))


def test_ways_to_draw_are_all_combinations_and_the_first_is_the_main_one():
    space = parse_space(GOOD + "inference: {guidance: [7.5, 5], lora_scale: [1.0, 0.8], controlnet_end: 0.9}\n", "x")
    assert [(way.guidance, way.lora_scale, way.controlnet_end) for way in space.inferences] == [
        (7.5, 1.0, 0.9), (7.5, 0.8, 0.9), (5, 1.0, 0.9), (5, 0.8, 0.9),
    ]  # fmt: skip
    assert parse_space(GOOD, "x").inferences == (Inference(),)


def test_a_condition_may_come_before_what_it_depends_on():
    text = GOOD.replace("  text_encoder: [frozen, lora]\n", "") + "  text_encoder: [frozen, lora]\n"
    names = [p.name for p in parse_space(text, "x").parameters]
    assert names.index("text_encoder") < names.index("text_encoder_rank")


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("low: 1,", "low: 0,", 5, "recipe.rank: low 0 and high 4 should be low < high, both above 0"),
        ("low: 1, high: 4, log: true", "low: 0, high: 4", 5, "recipe.rank: 0 is not right"),
        (
            "[frozen, lora]",
            "[frozen, full]",
            7,
            "recipe.text_encoder: 'full' is not right, it should be 'frozen' or 'lora'",
        ),
        ("rank: {low: 1", "rnak: {low: 1", 5, "no such recipe field; fields are unet, targets, rank"),
        ("low: 0.0", "low: 0e0", 6, "should be a number (YAML reads 1e-4 as text"),
        ("high: 0.5", "hihg: 0.5", 6, "should be low and high"),
        ("when: {text_encoder: lora}", "when: {text: lora}", 8, "when: 'text' is not in this space"),
        ("[10, 20]", "[20, 10]", 2, "should be a list of increasing step counts"),
        ("[identity, pose]", "[identity, beauty]", 3, "'beauty' is not an objective; there are identity, pose"),
        ("[identity, pose]", "[identity]", 3, "two or more different objectives"),
        ("batch_size: 2", "batch_size: two", 9, "recipe.batch_size: 'two'"),
        ("about", "abuot", 1, "no such field; fields are about, base"),
        ("[10, 20]", "[10, 20", 3, "is not YAML"),
        ("log: true}", "log: true, prior: 5}", 5, "recipe.rank: prior: 5 should be between low 1 and high 4"),
        ("log: true}", "log: true, prior: 2, spread: 0.5}", 5, "spread: 0.5 should be a factor above 1, since the"),
        ("log: true}", "log: true, spread: 2}", 5, "spread: is of a prior"),
        ("high: 0.5}", "high: 0.5, prior: 0.1, spread: 0}", 6, "spread: 0 should be a deviation above 0"),
        ("high: 0.5}", "high: 0.5, prior: 1e-1}", 6, "prior: '1e-1' should be a number (YAML reads 1e-4 as text"),
        ("[frozen, lora]", "{choice: [frozen, lora], prior: {full: 1}}", 7, "prior: 'full' is no choice; choices are"),
        ("[frozen, lora]", "{choice: [frozen, lora], prior: [1, -1]}", 7, "prior: [1, -1] should give the choices"),
        ("[frozen, lora]", "{choice: [frozen, lora], prior: [1]}", 7, "weights, as a mapping or a list"),
        ("[frozen, lora]", "{choice: [frozen, lora], prior: [0, 0]}", 7, "one above 0"),
        ("[frozen, lora]", "{choice: [frozen, lora], low: 1}", 7, "'low' should be one of choice, prior, when"),
        ("[frozen, lora]", "[frozen, lora, lora]", 7, "'lora' is there twice"),
        ("{text_encoder: lora}", "{text_encoder: [lora, full]}", 8, "when: text_encoder is never 'full' here"),
        ("{text_encoder: lora}", "{text_encoder: []}", 8, "should map a field to the value, or values"),
        ("{text_encoder: lora}", "{rank: 4}", 8, "when: rank is a range, a condition should be on choices"),
        ("{text_encoder: lora}", "{batch_size: 3}", 8, "when: batch_size is never 3 here, it is one of 2"),
        ("batch_size: 2", "rank: 2", 9, "recipe.rank: is there already, in line 5"),
        ("batch_size: 2", "pose_from: 20", 9, "recipe.pose_from: 20 steps should be below the last rung, 20"),
        ("batch_size: 2", "token_until: {low: 5, high: 30}", 9, "30 steps should be below the last rung, 20"),
        ("batch_size: 2", "unet: [lora, frozen]", 9, "recipe.unet: 'frozen' leaves nothing that trains"),
        ("rungs:", "controlnet: 3\nrungs:", 2, "controlnet: 3 should be a folder or a hub id"),
        ("rungs:", "inference: {cfg: 3}\nrungs:", 2, "inference.cfg: no such setting; settings are lora_scale"),
        ("rungs:", "inference: {guidance: [3, 0.5]}\nrungs:", 2, "inference.guidance: 0.5 is not right, it should be"),
        ("rungs:", "inference: {guidance: []}\nrungs:", 2, "inference.guidance: [] should be a value or a list"),
        ("rungs:", "inference: {guidance: [3, 3.0]}\nrungs:", 2, "cfg3-cn1-lora1 is there twice"),
        ("rungs:", "inference: {controlnet_end: 0}\nrungs:", 2, "inference: it should be controlnet_start 0 below"),
        (
            "rungs:",
            "inference: {guidance: [1, 2, 3], lora_scale: [0.5, 1, 2], controlnet_scale: [0.5, 1]}\nrungs:",
            2,
            "inference: 3 x 3 x 2 are 18 ways to draw, it should be at most 16",
        ),
    ],
)
def test_a_mistake_names_the_file_the_line_and_what_would_be_right(old, new, line, said):
    assert old in GOOD
    with pytest.raises(InputError) as error:
        parse_space(GOOD.replace(old, new, 1), "x", "my.yaml")
    assert f"my.yaml, line {line}" in str(error.value)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_space_lists_the_shipped_ones(tmp_path):
    with pytest.raises(InputError, match="shipped are custom-diffusion, everything, puppets"):
        load_space(str(tmp_path / "nothing"))


METHODS = {
    "puppets": {},
    "sd15-person": {"adapter": {"lora", "rslora", "dora"}, "prior": {"none", "images", "base"}},
    "sd15-robot": {"rank_schedule": {"constant", "timestep"}, "pose_trains": {"unet", "both", None}},
    "custom-diffusion": {"unet": {"full-kv"}, "token": {"trained"}, "size_augmentation": {True, False}},
    "two-stage": {"pose_from": {None, 0, 200, 400}, "pose_trains": {None, "unet", "controlnet", "both"}},
    "everything": {
        "unet": {"lora", "full-kv", "frozen"}, "adapter": {"lora", "rslora", "dora", None},
        "dropout_kind": {"input", "output", "rank", "module", None}, "token_until": {None, 100, 200},
        "init": {"gaussian", "kaiming", "orthogonal", "pissa", None}, "prior": {"none", "images", "base"},
        "pose_trains": {None, "unet", "controlnet", "both"}, "text_encoder_until": {None, 100, 200},
    },
}  # fmt: skip


@pytest.mark.parametrize("name", shipped_spaces())
def test_the_shipped_spaces_have_what_they_are_named_for(name):
    space, generator = load_space(name), np.random.default_rng(0)
    recipes = [space.recipe(space.sample(generator)) for _ in range(1000)]
    assert {field: {getattr(r, field) for r in recipes} for field in METHODS[name]} == METHODS[name]


def test_stable_diffusion_has_its_controlnet_and_its_guidance():
    for name in ("sd15-person", "sd15-robot"):
        space = load_space(name)
        assert space.base == "stable-diffusion-v1-5/stable-diffusion-v1-5"
        assert space.controlnet == "lllyasviel/control_v11p_sd15_openpose"
        assert space.inferences == (Inference(guidance=7.5),)
        assert space.rungs[0] >= 200 and space.rungs[-1] <= 600


def test_everything_is_said_by_some_shipped_space():
    known = {name for shipped in shipped_spaces() for name in known_fields(load_space(shipped))}
    unsearched = {"alpha", "text_encoder_alpha", "controlnet_alpha", "token_init"}  # follow from the rest
    assert known == set(Recipe.model_fields) - unsearched


def known_fields(space) -> set[str]:
    return {parameter.name for parameter in space.parameters} | {name for name, _ in space.fixed}


def test_the_readme_shows_a_space_that_is_right():
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)
    space = parse_space(text, "readme")
    assert len(space.inferences) == 2 and len(space.parameters) == 4
