"""Makes a subject folder of photographs, and lets people mark the joints on them."""

from trainables.prepare.prepare import Prepared, is_person, prepare

__all__ = ["Prepared", "is_person", "prepare"]
