"""`posefront spaces`: what may be searched."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spaces import Inference, Parameter, Range, Recipe, Space, load_space, shipped_spaces

WIDE = 110
"""Columns of a terminal from which on a field's meaning has a column of its own."""


def spaces(
    name: Annotated[str | None, typer.Argument(help="A shipped space, or a YAML file; default: a list.")] = None,
) -> None:
    """The spaces that come with posefront; with a name, what that one searches and where an expert would begin."""
    console = Console()
    if name is None:
        console.print(_list([load_space(shipped) for shipped in shipped_spaces()]))
        console.print("\n`posefront spaces NAME` explains one, `posefront sweep NAME` runs it.", highlight=False)
    else:
        _explain(load_space(name), console)


def _list(spaces: list[Space]) -> Table:
    table = Table("space", "fields", "scored at steps", "what it searches", box=None, padding=(0, 2, 0, 0))
    for space in spaces:
        rungs, about = ", ".join(map(str, space.rungs)), space.about.partition(". ")[0]
        table.add_row(Text(space.name, "bold"), str(len(space.parameters)), rungs, Text(about))
    return table


def _explain(space: Space, console: Console) -> None:
    rungs, objectives = ", ".join(map(str, space.rungs)), ", ".join(o.name for o in space.objectives)
    facts = {
        "scored at": f"{rungs} steps, by {objectives}; one in {space.eta:g} goes on",
        "required": ", ".join(map(str, space.requirements)),
        "base": space.base + (f" with {space.controlnet}" if space.controlnet else ""),
        "subject": space.subject or "give one with --subject",
        "drawn": _drawn(space.inferences),
        "fixed": ", ".join(f"{name} {_value(value)}" for name, value in space.fixed),
    }
    head = Table.grid(padding=(0, 2))
    head.add_column(style="dim")
    head.add_column()
    for fact, text in facts.items():
        if text:
            head.add_row(fact, Text(text))
    console.print(Text.assemble((space.name, "bold"), f"\n{space.about}\n"), head, "", highlight=False)
    console.print(_fields(space, console.width >= WIDE))
    if any(_guess(parameter) for parameter in space.parameters):
        console.print("\nPercentages, and what a range lies around, are an expert's guess: where a sweep begins.")


def _fields(space: Space, wide: bool) -> Table:
    """The fields in the recipe's order, those that depend on others with their conditions."""
    table = Table("field", "values", box=None, padding=(0, 2, 0 if wide else 1, 0))
    table.columns[0].no_wrap = True
    if wide:
        table.add_column("what it is", style="dim", ratio=1)
    order = list(Recipe.model_fields)
    for parameter in sorted(space.parameters, key=lambda parameter: order.index(parameter.name)):
        about = Recipe.model_fields[parameter.name].description or ""
        when = " and ".join(f"{field} is {' or '.join(map(_value, values))}" for field, values in parameter.when)
        notes = [*([f"when {when}"] if when else []), *([] if wide else [about])]
        values = Text.assemble(_values(parameter), *((f"\n{note}", "dim") for note in notes))
        table.add_row(Text(parameter.name), values, *([Text(about)] if wide else []))
    return table


def _values(parameter: Parameter) -> str:
    guess = _guess(parameter)
    if isinstance(parameter, Range):
        return f"{parameter.low:g} to {parameter.high:g}{', log' if parameter.log else ''}{guess and ', '}{guess}"
    return guess or ", ".join(map(_value, parameter.values))


def _guess(parameter: Parameter) -> str:
    """What an expert expects: the place in a range, or the weight of each choice."""
    if isinstance(parameter, Range):
        if parameter.prior is None:
            return ""
        spread = "" if parameter.spread is None else f" {'×÷' if parameter.log else '±'} {parameter.spread:g}"
        return f"around {parameter.prior:g}{spread}"
    if parameter.weights is None:
        return ""
    weights, total = zip(parameter.values, parameter.weights, strict=True), sum(parameter.weights)
    return ", ".join(f"{_value(value)} {weight / total:.0%}" for value, weight in weights)


def _drawn(inferences: tuple[Inference, ...]) -> str:
    main, *others = inferences
    words = f"with guidance {main.guidance:g}, ControlNet {main.controlnet_scale:g}, LoRA {main.lora_scale:g}"
    return f"{words}, and also as {', '.join(other.name for other in others)}" if others else words


def _value(value: object) -> str:
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
