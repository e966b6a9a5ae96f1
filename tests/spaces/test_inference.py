import pytest
from pydantic import ValidationError

from spaces import Cost, Inference, Observation, Recipe, labels


def test_the_main_way_to_draw_has_no_label_and_others_say_what_they_are():
    ways = (
        Inference(),
        Inference(lora_scale=0.8),
        Inference(guidance=7.5, controlnet_scale=0.5, controlnet_start=0.1, controlnet_end=0.6),
    )
    assert labels(ways) == ("", "cfg3-cn1-lora0.8", "cfg7.5-cn0.5-from0.1-to0.6-lora1")


@pytest.mark.parametrize(
    "wrong",
    [{"guidance": 0.5}, {"lora_scale": -1}, {"controlnet_start": 0.5, "controlnet_end": 0.5}, {"scale": 1}],
)
def test_what_cannot_be_drawn_is_refused(wrong):
    with pytest.raises(ValidationError):
        Inference(**wrong)


def test_an_observation_is_named_by_trial_steps_and_label():
    main = Observation("t0001", Recipe(), 1, 200, {"pose": 0.5})
    other = Observation("t0001", Recipe(), 1, 200, {"pose": 0.5}, {}, Cost(), Inference(guidance=5), "cfg5-cn1-lora1")
    assert (main.name, other.name) == ("t0001@200", "t0001@200:cfg5-cn1-lora1")
    assert main.key != other.key
    assert [Observation.from_json(o.to_json()) for o in (main, other)] == [main, other]


def test_an_observation_from_before_there_were_labels_is_the_main_one():
    old = Observation("t0001", Recipe(), 1, 200, {"pose": 0.5}).to_json()
    del old["inference"], old["label"]
    assert Observation.from_json(old) == Observation("t0001", Recipe(), 1, 200, {"pose": 0.5})
