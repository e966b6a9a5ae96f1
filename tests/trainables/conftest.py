"""The tiny base and subject as they are read, and fine-tunes of them that leave no trace."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spaces import Recipe
from trainables.base import Base
from trainables.data.prior import Prior, class_prior
from trainables.engine import DEFAULT, Engine
from trainables.finetune import FineTune
from trainables.parts.adapters import is_adapted
from trainables.subject import Subject


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> Base:
    return Base.load(tiny_base)


@pytest.fixture(scope="module")
def subject(tiny_subject: Path) -> Subject:
    return Subject.load(tiny_subject)


@pytest.fixture(scope="module")
def prior(base: Base, subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> Prior:
    return class_prior(base, subject, 5, tmp_path_factory.mktemp("cache"))


@pytest.fixture
def tune(base: Base, subject: Subject, prior: Prior) -> Iterator[Callable[..., FineTune]]:
    """Makes fine-tunes of recipes; each is taken off before the next."""
    made: list[FineTune] = []

    def make(
        recipe: Recipe, of: Subject = subject, seed: int = 1, on: Base = base, engine: Engine = DEFAULT
    ) -> FineTune:
        for before in made:
            before.remove()
        made.append(FineTune(on, of, recipe, seed, prior, engine))
        return made[-1]

    yield make
    for before in made:
        before.remove()
    assert not any(is_adapted(model) for model in (base.unet, base.vae, base.text_encoder, base.controlnet))
