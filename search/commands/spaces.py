"""`posefront spaces`: what may be searched."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spaces import Inference, Parameter, Range, Recipe, Space, load_space, shipped_spaces


def spaces(
    name: Annotated[str | None, typer.Argument(help="A shipped space, or a YAML file; default: a list.")] = None,
) -> None:
    """The spaces that come with posefront; with a name, what that one searches and where an expert would begin."""
    console = Console()
    if name is None:
        console.print(_list([load_space(shipped) for shipped in shipped_spaces()]))
        console.print("`posefront spaces NAME` explains one, `posefront sweep NAME` runs it.", highlight=False)
    else:
        _explain(load_space(name), console)


def _list(spaces: list[Space]) -> Table:
    table = Table("space", "searches", box=None, padding=(0, 2, 1, 0))
    for space in spaces:
        rungs = ", ".join(map(str, space.rungs))
        facts = f"{len(space.parameters)} fields, scored at {rungs} steps, on {space.base}"
        table.add_row(Text(space.name, "bold"), Text.assemble(f"{space.about}\n", (facts, "dim")))
    return table


def _explain(space: Space, console: Console) -> None:
    rungs, objectives = ", ".join(map(str, space.rungs)), ", ".join(o.name for o in space.objectives)
    facts = {
        "scored at": f"{rungs} steps, by {objectives}; one in {space.eta:g} goes on",
        "base": space.base + (f" with {space.controlnet}" if space.controlnet else ""),
        "subject": space.subject or "give one with --subject",
        "fixed": ", ".join(f"{name} {_value(value)}" for name, value in space.fixed),
        "drawn": _drawn(space.inferences),
    }
    head = Table.grid(padding=(0, 2))
    head.add_column(style="dim")
    head.add_column()
    for fact, text in facts.items():
        if text:
            head.add_row(fact, Text(text))
    console.print(Text.assemble((space.name, "bold"), f"\n{space.about}\n"), head, "", highlight=False)
    console.print(_fields(space.parameters, wide=console.width >= 120))


def _fields(parameters: tuple[Parameter, ...], wide: bool) -> Table:
    """What each field means has a column of its own where there is room, else a line."""
    table = Table("field", "values", box=None, padding=(0, 2, 0 if wide else 1, 0))
    table.columns[0].no_wrap = True
    expert = any(_expert(parameter) for parameter in parameters)
    if expert:
        table.add_column("an expert's guess")
    if wide:
        table.add_column("what it is", style="dim")
    for parameter in parameters:
        about = Recipe.model_fields[parameter.name].description or ""
        when = " and ".join(f"{field} is {' or '.join(map(_value, values))}" for field, values in parameter.when)
        values = Text(_values(parameter))
        notes = [f"when {when}"] if when else []
        if not wide:
            notes.append(about)
        for note in notes:
            values.append(f"\n{note}", "dim")
        guess = [_expert(parameter)] if expert else []
        table.add_row(Text(parameter.name), values, *guess, *([about] if wide else []))
    return table


def _values(parameter: Parameter) -> str:
    if isinstance(parameter, Range):
        return f"{parameter.low:g} to {parameter.high:g}{', log' if parameter.log else ''}"
    return ", ".join(map(_value, parameter.values))


def _expert(parameter: Parameter) -> str:
    """Where an expert would look, in short."""
    if isinstance(parameter, Range):
        if parameter.prior is None:
            return ""
        spread = "" if parameter.spread is None else f" {'×÷' if parameter.log else '±'} {parameter.spread:g}"
        return f"{parameter.prior:g}{spread}"
    if parameter.weights is None:
        return ""
    weights = zip(parameter.values, parameter.weights, strict=True)
    return ", ".join(f"{_value(value)} {weight / sum(parameter.weights):.0%}" for value, weight in weights if weight)


def _drawn(inferences: tuple[Inference, ...]) -> str:
    main, *others = inferences
    words = f"with guidance {main.guidance:g}, ControlNet {main.controlnet_scale:g}, LoRA {main.lora_scale:g}"
    return f"{words}, and also as {', '.join(other.name for other in others)}" if others else words


def _value(value: object) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
