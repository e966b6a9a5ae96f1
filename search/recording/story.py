"""What a sweep found, as the description on its page in MLflow and as the table beside it."""

import json
from collections.abc import Sequence

from analysis.choice import recommend
from search.budget import of
from search.confirm.summary import Standing
from search.recording.about import About
from search.recording.drawing import SMALL
from search.tracking.addresses import Addresses
from search.views.choosing import choice_of
from search.views.show import SCORE_COLUMNS, Found
from search.views.words import in_words

TABLE = "front.json"
"""The front as an artifact that MLflow shows as a table."""
LONGEST = 8000
"""Characters that MLflow takes of a tag, and a description is one."""
ROWS = 12
"""Of the front in the description; the artifact has all."""
_ROOM = 3 * "\N{NO-BREAK SPACE}"
MOST_COMPARED = 20
"""Runs beside each other."""


def page(found: Found, addresses: Addresses, about: About) -> str:
    """Markdown. MLflow folds a description after a few lines, so the first say the most: how far, the pick, the links.

    Then the plot, the pick's recipe, the front, how its runs are compared, and what to do with it.
    """
    parts = [_head(found, about), _pick_in_short(found), _links(found, addresses), _more(found)]
    parts += [_plot(addresses), _pick(found)] if found.knee else []
    parts += [_front(found), _compare(found, addresses), _commands(found, about), _guide()]
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
    config, ledger, status = found.config, found.ledger, found.status
    ended, traded = of(len(ledger.endings), config.meter.plan(ledger).trials), [o.name for o in found.space.objectives]
    knows = f" ({about.words})" if about.words else ""
    return (
        f"**{status[0].upper()}{status[1:]}**: {ended} trials of the space `{config.space_name}` ended, which "
        f"fine-tune `{config.job.base}` to **{about.name}**{knows}. {len(ledger.table)} checkpoints, "
        f"{len(found.front)} on the front of {' and '.join(traded)}, hypervolume **{found.hypervolume:.3f}** "
        "(0: nothing, 1: the ideal)."
    )


def _pick_in_short(found: Found) -> str:
    knee = found.knee
    if knee is None:
        return ""
    scores = ", ".join(f"{SCORE_COLUMNS.get(name, name)} {knee.scores[name]:.3f}" for name in _scores(found))
    return f"**Pick: {knee.name}**, {_whose(found)}: {scores}; {in_words(knee.recipe)}; {knee.steps} steps."


def _links(found: Found, addresses: Addresses) -> str:
    if not found.front:
        return ""
    links = [f"[the plot to explore]({addresses.artifact('pareto.html')})"]
    links += [f"[the front as a table]({addresses.artifact(TABLE)})"]
    if trials := _trials(found, addresses):
        links.append(f"[the front's runs in charts]({addresses.charts(found.space.objectives[0].name)})")
        links += [f"[side by side]({addresses.compared(trials[:MOST_COMPARED])})"] if len(trials) > 1 else []
    text = ", ".join(links)
    return f"{text[0]}{text[1].upper()}{text[2:]}."


def _more(found: Found) -> str:
    """What else it was about."""
    lines = []
    if required := found.space.requirements:
        lines.append(f"Required: {', '.join(f'`{each}`' for each in required)}.")
    if learned := found.ledger.learned:
        lines.append(f"Proposals began with what {', '.join(sorted({each.sweep for each in learned}))} found.")
    if found.standing is not None:
        lines.append(_confirmed(found.standing))
    return "\n\n".join(lines)


def _confirmed(standing: Standing) -> str:
    front = ", ".join(f"{each.name} ({each.chance:.0%})" for each in standing.confirmation.front if each.chance)
    odds = f" On the front, with the odds of it: {front}." if front else ""
    return f"Confirmation: {standing.in_words}.{odds}"


def _plot(addresses: Addresses) -> str:
    return f"![identity versus pose, the front and its knee]({addresses.file(SMALL)})"


def _pick(found: Found) -> str:
    """The knee beside the untuned base, and its recipe."""
    knee = found.knee
    assert knee is not None
    names = _scores(found)
    base = found.base or {}
    rows = [[f"**{knee.name}**", *(_number(knee.scores.get(name)) for name in names)]]
    rows += [["untuned base", *(_number(base.get(name)) for name in names)]] if base else []
    fields = ", ".join(f"{name} `{_said(value)}`" for name, value in knee.recipe.flat().items())
    drawn = f", drawn as `{knee.label}`" if knee.label else ""
    return "\n\n".join(
        [
            f"### The pick: {knee.name}, {_whose(found)}",
            _rows(["", *(SCORE_COLUMNS.get(name, name) for name in names)], rows),
            f"Recipe: {fields}; {knee.steps} steps, seed {knee.seed}{drawn}.",
            _why(found),
        ]
    )


def _why(found: Found) -> str:
    """Why this one, what its neighbours would give and cost, and which rivals nothing tells from it; as `show` says."""
    choice = choice_of(found)
    return "" if choice is None else "\n".join(f"- {line}" for line in recommend(choice))


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
    if not _trials(found, addresses):
        return ""
    return (
        "### Comparing the front's runs\n\n"
        f"`{addresses.filter}`\n\nThis filter over the runs finds them, in charts and as a table. `front_steps` says "
        "with which checkpoints; a run's latest scores are those of its last rung."
    )


def _trials(found: Found, addresses: Addresses) -> list[str]:
    """Those on the front that have a run."""
    return list(dict.fromkeys(o.trial for o in found.front if o.trial in addresses.runs))


def _whose(found: Found) -> str:
    return "the confirmed front's knee" if found.confirmed else "the front's knee"


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
        "earlier one (`stopped_at`), `paused` while it waits at one for a promotion, `held` where a budget was "
        "spent, or `failed`; `reason` says why. `front` is `yes` for those on the front (at `front_steps`), which keep "
        "their adapters as artifacts."
    )


def _scores(found: Found) -> list[str]:
    """The objectives, then the usual ones, as far as the front has them."""
    shown = dict.fromkeys([*(o.name for o in found.space.objectives), *SCORE_COLUMNS, "prompt"])
    return [name for name in shown if all(name in o.scores for o in found.front)]


def _rows(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Each cell with some room of its own, which MLflow's pages give it none of."""
    lines = [[cell + _ROOM for cell in line] for line in (heads, *rows)]
    lines.insert(1, ["---"] * len(heads))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _rounded(value: float | None) -> float | None:
    return None if value is None or value != value else round(value, 4)


def _said(value: str | int | float) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
