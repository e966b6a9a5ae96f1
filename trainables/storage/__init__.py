"""Where the files of a sweep are kept when its folder is on one machine alone: a bucket, or a folder elsewhere."""

from trainables.storage.address import Address, parse_address
from trainables.storage.carrier import Carrier, bring_first, bring_subject
from trainables.storage.store import File, StorageError, Store, within
from trainables.storage.subject import POSES, SUBJECT, fingerprint, subject_files

__all__ = [
    "POSES",
    "SUBJECT",
    "Address",
    "Carrier",
    "File",
    "StorageError",
    "Store",
    "bring_first",
    "bring_subject",
    "fingerprint",
    "parse_address",
    "subject_files",
    "within",
]
