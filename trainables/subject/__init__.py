"""A subject: the few pictures of one thing, what they are called, and the poses it is to be drawn in."""

from trainables.subject.cards import NAME
from trainables.subject.parts import UNMARKED, Grade, Picture, Pose
from trainables.subject.subject import SHIPPED, Subject, find_folder, skeleton_of

__all__ = ["NAME", "SHIPPED", "UNMARKED", "Grade", "Picture", "Pose", "Subject", "find_folder", "skeleton_of"]
