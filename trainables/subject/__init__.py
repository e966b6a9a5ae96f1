"""A subject: the few pictures of one thing, what they are called, and the poses it is to be drawn in."""

from trainables.subject.cards import NAME
from trainables.subject.parts import Grade, Picture, Pose
from trainables.subject.subject import SHIPPED, Subject

__all__ = ["NAME", "SHIPPED", "Grade", "Picture", "Pose", "Subject"]
