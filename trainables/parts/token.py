"""Embeddings of the subject's own for its token (Gal et al. 2022, "Textual Inversion")."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from tokenizers import AddedToken, Regex, Tokenizer, normalizers
from torch import Tensor, nn
from transformers import CLIPTokenizer

from spaces import InputError, Recipe
from trainables.base import Base
from trainables.parts.swap import replace_module, swapped
from trainables.subject import Subject


class TokenEmbedding(nn.Module):
    """A table of embeddings in which some rows, or rows beyond its end, are trained vectors; all others are its own."""

    def __init__(self, stands_for: nn.Embedding, ids: Tensor, vectors: Tensor) -> None:
        super().__init__()
        self.stands_for = stands_for
        self.register_buffer("ids", ids, persistent=False)
        # in a list, so that the module's first parameter, whose precision is taken for the model's, is the table
        self.trained = nn.ParameterList([nn.Parameter(vectors)])

    def forward(self, ids: Tensor) -> Tensor:
        rows = self.stands_for(ids.clamp(max=self.stands_for.num_embeddings - 1))
        match = ids[..., None] == self.ids
        vectors = match.to(self.trained[0].dtype) @ self.trained[0]  # one of them, or zero
        return torch.where(match.any(-1, keepdim=True), vectors.to(rows.dtype), rows)


@dataclass(frozen=True, eq=False)
class Token:
    """The trained token of one text encoder."""

    text_encoder: nn.Module
    name: str
    """The place of the embedding in the text encoder."""
    embedding: TokenEmbedding
    words: tuple[str, ...]
    """What the vectors are called: the subject's token, and it with `_1`, `_2`, ... for the vectors after the first."""
    ids: tuple[int, ...]
    """Their rows; those after the first are beyond the table's end."""
    tokenizer: CLIPTokenizer
    plain: Tokenizer
    """The tokenizer's own insides, from before the token stood for several."""

    @property
    def vectors(self) -> nn.Parameter:
        """k x width, fp32."""
        return self.embedding.trained[0]

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """All that trains."""
        return {"vectors": self.vectors}

    def dropping(self, seed: int, first: int = 0, of: int | None = None) -> AbstractContextManager[None]:
        """Nothing is dropped."""
        return nullcontext()

    @contextmanager
    def off(self) -> Iterator[None]:
        """Inside, the token's embedding is the base's. Captions that are tokens already keep their rows: give none."""
        with swapped(self.text_encoder, {self.name: self.embedding.stands_for}):
            yield

    def remove(self) -> None:
        """Puts the very embedding back that was there before, and the tokenizer's words."""
        replace_module(self.text_encoder, self.name, self.embedding.stands_for)
        self.tokenizer._tokenizer = self.plain


def train_token(base: Base, subject: Subject, recipe: Recipe) -> Token:
    """Makes `token_vectors` vectors the meaning of the subject's token, which is one row of the text encoder's table.

    They start as `token_init`, or as the mean of the class noun's rows. With several, the tokenizer reads the token as
    itself and the words for the others after it, wherever it is asked. InputError when token or word are not one row.
    """
    tokenizer, table = base.tokenizer, base.text_encoder.get_input_embeddings()
    row = _row(tokenizer, subject.token, f"{subject.folder / 'subject.yaml'}: token")
    if recipe.token_init is None:
        start = tokenizer(subject.class_noun, add_special_tokens=False).input_ids
    else:
        start = [_row(tokenizer, recipe.token_init, "recipe: token_init")]
    plain, count = tokenizer._tokenizer, recipe.token_vectors
    words = (subject.token, *(f"{subject.token}_{number}".lower() for number in range(1, count)))
    if count > 1:
        tokenizer._tokenizer = _with_words(plain, subject.token, words)
    ids = (row, *tokenizer.convert_tokens_to_ids(list(words[1:])))
    vectors = table.weight[start].float().mean(0).repeat(count, 1)
    embedding = TokenEmbedding(table, torch.tensor(ids, device=base.device), vectors)
    name = next(name for name, module in base.text_encoder.named_modules() if module is table)
    replace_module(base.text_encoder, name, embedding)
    return Token(base.text_encoder, name, embedding, words, ids, tokenizer, plain)


def _row(tokenizer: CLIPTokenizer, word: str, where: str) -> int:
    pieces = tokenizer(word, add_special_tokens=False).input_ids
    if len(pieces) != 1:
        spelled = " ".join(tokenizer.convert_ids_to_tokens(pieces))
        raise InputError(
            where, f"{word!r} is {len(pieces)} rows of the text encoder's table ({spelled}), it should be one"
        )
    return pieces[0]


def _with_words(plain: Tokenizer, token: str, words: tuple[str, ...]) -> Tokenizer:
    """A copy in which the token is read as all the words. Text is lower case by then."""
    made = Tokenizer.from_str(plain.to_str())
    made.add_tokens([AddedToken(word, normalized=True, single_word=True) for word in words[1:]])
    token_alone = Regex(rf"(?<!\w){_escaped(token.lower())}(?!\w)")
    spread = normalizers.Replace(token_alone, " ".join((token.lower(), *words[1:])))
    made.normalizer = normalizers.Sequence([plain.normalizer, spread])
    return made


def _escaped(text: str) -> str:
    return "".join(letter if letter.isalnum() else rf"\{letter}" for letter in text)
