"""`posefront register`."""

from pathlib import Path
from typing import Annotated

import typer

from search.commands.options import Home, Name, Pick, Storage


def register(
    name: Name,
    pick: Pick = "knee",
    model: Annotated[
        str | None, typer.Option("--as", help="The registered model's name; default: the sweep's.")
    ] = None,
    home: Home = Path("runs"),
    storage: Storage = None,
) -> None:
    """Registers one of the sweep's fine-tunes in MLflow as a model that draws, with the alias `champion`."""
    from search.finetunes import register as registering
    from search.finetunes.generate import pick as pick_one
    from search.views.show import find

    found = find(home.absolute(), name, storage)
    observation = pick_one(found, pick)
    done = registering.register(found, observation, model or name)
    print(f"{done.model}: version {done.version} is {observation.name}, alias {done.alias}")
    print(f"MLFLOW_TRACKING_URI={found.config.tracking_uri}")
    print(f'mlflow.pyfunc.load_model("models:/{done.model}@{done.alias}") draws with it')
