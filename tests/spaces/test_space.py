import numpy as np
import pytest

from spaces import InputError, Range, Recipe, load_space, parse_space, shipped_spaces

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
    for _ in range(100):
        values = space.sample(generator)
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
    with pytest.raises(InputError, match="shipped are puppets"):
        load_space(str(tmp_path / "nothing"))
