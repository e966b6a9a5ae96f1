"""What a sweep found, as the description on its page in MLflow and as the table beside it."""

import json
from collections.abc import Sequence

from search.about import About
from search.budget import of
from search.confirm.summary import Standing
from search.show import SCORE_COLUMNS, Found
from search.tracking.addresses import Addresses
from search.words import in_words

TABLE = "front.json"
"""The front as an artifact that MLflow shows as a table."""
LONGEST = 8000
"""Characters that MLflow takes of a tag, and a description is one."""
ROWS = 12
"""Of the front in the description; the artifact has all."""
MOST_COMPARED = 20
"""Runs beside each other."""


def page(found: Found, addresses: Addresses, about: About) -> str:
    """Markdown: what was searched, the plot, the pick, the front, how its runs are compared, and what to do with it."""
    parts = [_head(found, about), *([_plot(addresses), _pick(found)] if found.knee else []), _front(found)]
    parts += [_compare(found, addresses), _commands(found, about), _guide()]
    text = "\n\n".join(part for part in parts if part)
    return text if len(text) <= LONGEST else text[: LONGEST - 4] + "\n..."


def table(found: Found) -> bytes:
    """The front, a row for each observation: its name, scores, the recipe's fields that the space leaves open.

    In the form of MLflow's `log_table`, written whole: that one would add to what is there.
    """
    names = list(dict.fromkeys([*_scores(found), *(name for o in found.front for name in o.scores)]))
    fields = [parameter.name for parameter in found.space.parameters]
    columns = ["checkpoint", "pick", *names, "steps", "seed", *fields, "recipe"]
    rows = [
        [
            o.name,
            "knee" if o == found.knee else "",
            *(_rounded(o.scores.get(name)) for name in names),
            o.steps,
            o.seed,
            *(getattr(o.recipe, field) for field in fields),
            in_words(o.recipe),
        ]
        for o in found.front
    ]
    return (json.dumps({"columns": columns, "data": rows}, allow_nan=False) + "\n").encode()


def _head(found: Found, about: About) -> str:
    config, ledger, space = found.config, found.ledger, found.space
    plan, traded = config.meter.plan(ledger), " against ".join(o.name for o in space.objectives)
    ended = of(len(ledger.endings), plan.trials)
    knows = f" ({about.words})" if about.words else ""
    lines = [
        f"Fine-tunes of `{config.job.base}` that learn **{about.name}**{knows}, searched over the space "
        f"`{config.space_name}`: {traded}.",
        f"**{found.status[0].upper()}{found.status[1:]}**: {ended} trials ended, {len(ledger.table)} checkpoints "
        f"scored, {len(found.front)} on the front, hypervolume **{found.hypervolume:.3f}** (0: nothing, 1: the ideal).",
    ]
    if space.requirements:
        lines.append(f"Required: {', '.join(f'`{each}`' for each in space.requirements)}.")
    if ledger.learned:
        sweeps = ", ".join(sorted({each.sweep for each in ledger.learned}))
        lines.append(f"Proposals began with what {sweeps} found.")
    if found.standing is not None:
        lines.append(_confirmed(found.standing))
    return "\n\n".join(lines)


def _confirmed(standing: Standing) -> str:
    front = ", ".join(f"{each.name} ({each.chance:.0%})" for each in standing.confirmation.front if each.chance)
    odds = f" On the front, with the odds of it: {front}." if front else ""
    return f"Confirmation: {standing.in_words}.{odds}"


def _plot(addresses: Addresses) -> str:
    picture = f"![identity versus pose, the front and its knee]({addresses.file('pareto.png')})"
    return (
        f"[{picture}]({addresses.artifact('pareto.html')})\n\nThe plot is a link to `pareto.html`: hover over a point."
    )


def _pick(found: Found) -> str:
    """The knee beside the untuned base, and its recipe."""
    knee = found.knee
    assert knee is not None
    names = _scores(found)
    base = found.base or {}
    rows = [[f"**{knee.name}**", *(_number(knee.scores.get(name)) for name in names)]]
    rows += [["untuned base", *(_number(base.get(name)) for name in names)]] if base else []
    whose = "the confirmed front's knee" if found.confirmed else "the front's knee"
    fields = ", ".join(f"{name} `{_said(value)}`" for name, value in knee.recipe.flat().items())
    drawn = f", drawn as `{knee.label}`" if knee.label else ""
    return "\n\n".join(
        [
            f"### The pick: {knee.name}, {whose}",
            _rows(["", *(SCORE_COLUMNS.get(name, name) for name in names)], rows),
            f"In words: {in_words(knee.recipe)}; {knee.steps} steps, seed {knee.seed}{drawn}.",
            f"Recipe: {fields}.",
        ]
    )


def _front(found: Found) -> str:
    if not found.front:
        return "No checkpoint is on the front." if found.ledger.table else "No checkpoint is scored yet."
    names = _scores(found)
    shown = found.front[:ROWS]
    rows = [[o.name, *(_number(o.scores.get(name)) for name in names), in_words(o.recipe)] for o in shown]
    rest = len(found.front) - len(shown)
    more = f"\n\n{rest} more are in the artifact `{TABLE}`." if rest else ""
    heads = ["checkpoint", *(SCORE_COLUMNS.get(name, name) for name in names), "recipe"]
    return f"### The front\n\n{_rows(heads, rows)}{more}"


def _compare(found: Found, addresses: Addresses) -> str:
    """The one filter."""
    trials = list(dict.fromkeys(o.trial for o in found.front if o.trial in addresses.runs))
    if not trials:
        return ""
    first = f", or [see them side by side]({addresses.compared(trials[:MOST_COMPARED])})" if len(trials) > 1 else ""
    return (
        "### Comparing the front's runs\n\n"
        f"`{addresses.filter}` finds them: [the runs behind this filter]({addresses.filtered}){first}. "
        "Tick them and press *Compare* for MLflow's own charts."
    )


def _commands(found: Found, about: About) -> str:
    if found.knee is None:
        return ""
    name, prompt = found.config.name, f"a {about.words} at night" if about.words else "PROMPT"
    lines = [
        f"posefront show {name}",
        f'posefront generate {name} --pick knee --pose POSE.json --prompt "{prompt}" -o out.png',
        f"posefront export {name} --pick knee -o FOLDER",
        f"posefront register {name} --pick knee",
    ]
    block = "\n".join(["```", *lines, "```"])
    return f"### Using it\n\n{block}\n\n`--pick` takes any checkpoint of the front by its name."


def _guide() -> str:
    return (
        "### What is where\n\n"
        "- *Model metrics*: the hypervolume of the front so far, over trials, over seconds and over seconds of GPUs "
        "(or of workers).\n"
        "- *Child runs* are the trials: parameters are the recipe, metrics are scores over training steps, images are "
        "what the checkpoints draw on the panel. Where checkpoints are drawn in several ways, the main way's metrics "
        "come first and each other's have a section of their own.\n"
        "- Tags of a trial: `status` is `finished` when it reached the last rung, `stopped` when it ended at an "
        "earlier one (`stopped_at`), `held` where a budget was spent, or `failed`; `reason` says why. `front` is `yes` "
        "for those on the front (at `front_steps`), which keep their adapters as artifacts."
    )


def _scores(found: Found) -> list[str]:
    """The objectives, then the usual ones, as far as the front has them."""
    shown = dict.fromkeys([*(o.name for o in found.space.objectives), *SCORE_COLUMNS, "prompt"])
    return [name for name in shown if all(name in o.scores for o in found.front)]


def _rows(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _rounded(value: float | None) -> float | None:
    return None if value is None or value != value else round(value, 4)


def _said(value: str | int | float) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
