"""Where people's joints are in photographs: OpenPose or ViTPose, both as the 18 joints that ControlNets are told."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import AutoImageProcessor, VitPoseForPoseEstimation

from spaces import InputError
from trainables.judge_choice import OPENPOSE_FILES
from trainables.judges.sources import local_folder, readable

if TYPE_CHECKING:
    from controlnet_aux import OpenposeDetector
    from controlnet_aux.open_pose.body import Body

_COCO_TO_OPENPOSE = (0, 17, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
"""For each of OpenPose's 18 joints COCO's; 17 is the neck, put between the shoulders."""
_R_SHOULDER, _L_SHOULDER = 6, 5
_SEEN = 0.3
"""ViTPose's score from which a joint tells where the person is."""


class OpenPoseJudge:
    """controlnet_aux's OpenPose (Cao et al. 2017). Of several people the largest counts."""

    detected = 0.01
    """A joint is found or it is not: OpenPose leaves out the ones that it is not sure of."""

    def __init__(self, detector: "OpenposeDetector") -> None:
        self.detector = detector

    @classmethod
    def load(cls, source: str | Path, device: str = "cpu") -> "OpenPoseJudge":
        """From a folder or hub id with OpenPose's body network: `body_pose_model.safetensors`, or as it is published,
        `body_pose_model.pth`, of which nothing but tensors is read."""
        from controlnet_aux import OpenposeDetector  # 5 s

        return cls(OpenposeDetector(_body(local_folder(source, OPENPOSE_FILES))).to(device))

    def detect(self, pixels: np.ndarray) -> np.ndarray:
        """n x 18 x 3: x and y in pixels, confidence 0 where a joint was not found. pixels: n x h x w x 3 uint8."""
        height, width = pixels.shape[1:3]
        return np.stack([largest(_bodies(self.detector, picture), width, height) for picture in pixels])


def _body(folder: Path) -> "Body":
    """controlnet_aux's own constructor leaves it to the environment whether a pickle may run code."""
    from controlnet_aux.open_pose.body import Body, bodypose_model, util

    path = next((folder / name for name in OPENPOSE_FILES if (folder / name).is_file()), None)
    if path is None:
        raise InputError(folder, f"has no {' or '.join(OPENPOSE_FILES)}, OpenPose's body network")
    body = Body.__new__(Body)
    body.model = bodypose_model()
    weights = load_tensors(path)
    with readable(path):
        body.model.load_state_dict(util.transfer(body.model, weights))
    body.model.eval()
    return body


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Safetensors; or a pickle by torch's reader of weights, which builds tensors and refuses all that could run.

    The one place where a pickle is opened: OpenPose is published in no other form. InputError where it is not weights.
    """
    with readable(path):
        if path.suffix == ".safetensors":
            return load_file(path)
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # the reader's own, and all that a broken archive can bring about
            kind = type(error).__name__
            raise InputError(path, f"is a pickle that is not of weights alone, and is not read ({kind})") from None
    tensors = isinstance(found, dict) and all(isinstance(value, torch.Tensor) for value in found.values())
    if not tensors:
        raise InputError(path, "should hold tensors by their names")
    return found


def _bodies(detector: "OpenposeDetector", picture: np.ndarray) -> list[np.ndarray]:
    """People x 18 x 3, x and y from 0 to 1."""
    found = []
    for person in detector.detect_poses(picture):
        joints = person.body.keypoints
        found.append(np.array([(0.0, 0.0, 0.0) if j is None else (j.x, j.y, min(1.0, max(j.score, 0.01)))
                               for j in joints]))  # fmt: skip
    return found


def largest(people: list[np.ndarray], width: int, height: int) -> np.ndarray:
    """Of several people (J x 3, from 0 to 1) the one with the largest box around what was found, in pixels.

    18 x 3 zeros where there is none.
    """
    people = [person for person in people if (person[:, 2] > 0).any()]
    if not people:
        return np.zeros((len(_COCO_TO_OPENPOSE), 3))

    def area(person: np.ndarray) -> float:
        seen = person[person[:, 2] > 0, :2] * (width, height)
        return float(np.prod(np.ptp(seen, axis=0) + 1))

    return max(people, key=area) * (width, height, 1)


class ViTPoseJudge:
    """ViTPose (Xu et al. 2022) for one figure a picture: on the whole picture, then on the box around what it found.

    Its 17 joints of COCO become OpenPose's 18. A model with experts for several data sets uses COCO's.
    """

    detected = 0.3

    def __init__(self, model: VitPoseForPoseEstimation, processor: Any) -> None:
        self.model = model.eval().requires_grad_(False)
        self.processor = processor

    @classmethod
    def load(cls, source: str | Path, device: str = "cpu") -> "ViTPoseJudge":
        folder = local_folder(source)
        with readable(folder):
            model = VitPoseForPoseEstimation.from_pretrained(folder, use_safetensors=True, dtype=torch.float32)
            processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
        if model.config.num_labels != 17:
            raise InputError(folder, f"finds {model.config.num_labels} joints; ViTPose for people finds COCO's 17")
        return cls(model.to(device), processor)

    def detect(self, pixels: np.ndarray) -> np.ndarray:
        """n x 18 x 3: x and y in pixels, confidence in 0..1. pixels: n x h x w x 3 uint8."""
        height, width = pixels.shape[1:3]
        whole = np.tile([0.0, 0.0, width, height], (len(pixels), 1))
        first = self._in_boxes(pixels, whole)
        return coco_to_openpose(self._in_boxes(pixels, boxes_around(first, whole)))

    @torch.no_grad()
    def _in_boxes(self, pixels: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """n x 17 x 3. boxes: n x 4 as x, y, width, height."""
        nested = [[[float(v) for v in box]] for box in boxes]
        inputs = self.processor(images=list(pixels), boxes=nested, return_tensors="pt").to(self.model.device)
        experts = getattr(self.model.config.backbone_config, "num_experts", 1)
        chosen = (
            {"dataset_index": torch.zeros(len(pixels), dtype=torch.long, device=self.model.device)}
            if experts > 1
            else {}
        )
        made = self.model(**inputs, **chosen)
        found = self.processor.post_process_pose_estimation(made, boxes=nested)
        joints = [torch.cat([one[0]["keypoints"], one[0]["scores"].reshape(-1, 1).clamp(0, 1)], dim=1) for one in found]
        return torch.stack(joints).numpy()


def boxes_around(found: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """n x 4 boxes (x, y, width, height) around joints that were found, the given ones where fewer than 4 were.

    found: n x J x 3 in pixels, the last the confidence.
    """
    boxes = otherwise.copy()
    for number, joints in enumerate(found):
        seen = joints[joints[:, 2] >= _SEEN, :2]
        if len(seen) >= 4:
            boxes[number] = [*seen.min(axis=0), *np.maximum(np.ptp(seen, axis=0), 1)]
    return boxes


def coco_to_openpose(joints: np.ndarray) -> np.ndarray:
    """n x 17 x 3 to n x 18 x 3: the neck is between the shoulders and as sure as the less sure of them."""
    shoulders = joints[:, [_R_SHOULDER, _L_SHOULDER]]
    neck = np.concatenate([shoulders[..., :2].mean(axis=1), shoulders[..., 2].min(axis=1, keepdims=True)], axis=1)
    return np.concatenate([joints, neck[:, None]], axis=1)[:, list(_COCO_TO_OPENPOSE)]
