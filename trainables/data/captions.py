"""What training says of its pictures: every caption once, as embeddings while these cannot change."""

from collections.abc import Iterable

import torch
from torch import Tensor

from trainables.base import Base


class Captions:
    """A table of captions, the empty one first."""

    def __init__(self, base: Base, captions: Iterable[str]) -> None:
        self.base = base
        self._rows = {caption: row for row, caption in enumerate(dict.fromkeys(["", *captions]))}
        self._tokens = base.tokens(list(self._rows))
        self._embeddings: Tensor | None = None

    def rows(self, captions: Iterable[str]) -> Tensor:
        """The numbers of captions in the table."""
        return torch.tensor([self._rows[caption] for caption in captions], dtype=torch.int64)

    @torch.no_grad()
    def freeze(self) -> None:
        """Embeds the table with the text encoder as it now is, adapters included; it is not asked again."""
        self._embeddings = self.base.encode_tokens(self._tokens).to(self.base.dtype)

    @torch.no_grad()
    def embed(self, rows: Tensor) -> Tensor:
        """Embeddings of some captions in a table of all; the other rows are 0."""
        embedded = self.base.encode_tokens(self._tokens[rows]).to(self.base.dtype)
        table = embedded.new_zeros(len(self._tokens), *embedded.shape[1:])
        table[rows] = embedded
        return table

    def thaw(self) -> None:
        """From now on every step asks the text encoder, and gradients flow into it."""
        self._embeddings = None

    def __call__(self, rows: Tensor) -> Tensor:
        """n x tokens x width embeddings of the captions with these numbers."""
        if self._embeddings is not None:
            return self._embeddings[rows]
        return self.base.encode_tokens(self._tokens[rows]).to(self.base.dtype)


def without_token(caption: str, token: str) -> str:
    """The caption of the class: `a sks robot, on grass` becomes `a robot, on grass`."""
    words = caption.split()
    return " ".join(word for word in words if word.strip(",.") != token)
