"""Skeletons: which joints a figure has, which limbs join them, and the picture that conditions a ControlNet."""

from trainables.skeleton.drawing import region, render
from trainables.skeleton.file import SKELETONS, load_skeleton, skeleton_named
from trainables.skeleton.pose_file import load_pose, parse_pose
from trainables.skeleton.shape import OPENPOSE_18, PUPPET_13, Skeleton, puppet_skeleton

__all__ = [
    "OPENPOSE_18",
    "PUPPET_13",
    "SKELETONS",
    "Skeleton",
    "load_pose",
    "load_skeleton",
    "parse_pose",
    "puppet_skeleton",
    "region",
    "render",
    "skeleton_named",
]
