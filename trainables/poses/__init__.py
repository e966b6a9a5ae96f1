"""Target poses: from the subject, from a folder, or shipped."""

from trainables.poses.source import pose_lines, target_poses, with_poses

__all__ = ["pose_lines", "target_poses", "with_poses"]
