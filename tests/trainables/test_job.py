from spaces import Inference
from trainables.job import PanelConfig


def test_a_panel_that_was_saved_with_one_way_to_draw_has_it_still():
    old = {"plain": 2, "hard": 2, "drift": 1, "steps": 4, "guidance": 5.0, "controlnet_scale": 0.7, "seed": 0}
    panel = PanelConfig.model_validate(old)
    assert panel.inferences == (Inference(guidance=5.0, controlnet_scale=0.7),)
    assert PanelConfig.model_validate_json(panel.model_dump_json()) == panel
