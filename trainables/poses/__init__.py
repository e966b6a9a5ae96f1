"""Target poses: from the subject, from a folder, or shipped."""

from trainables.poses.source import annotated, pose_lines, target_poses, with_poses
from trainables.poses.turned import turned_poses

__all__ = ["annotated", "pose_lines", "target_poses", "turned_poses", "with_poses"]
