"""From the material to one HTML file: the template, its style and scripts, and the data, all in one."""

import base64
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from analysis.findings import CAVEAT, findings
from analysis.pareto import hypervolume, non_dominated
from analysis.report.figures import course_figures, time_unit
from analysis.report.material import Key, Material, Strip
from analysis.report.matters import FAINT, matter_figures
from analysis.report.points import points_data
from analysis.report.tables import FrontRow, front_rows, shown_scores
from spaces import REFERENCE_LOSS, front_losses, to_losses

SCRIPTS = ("charts.js", "pictures.js", "front.js")


def report_html(material: Material) -> str:
    """The page of one sweep."""
    strips = album_strips(material)
    keys = {key: i for i, key in enumerate(strips)}
    rows = front_rows(material)
    courses = {material.name: material.course} | {rival.name: rival.course for rival in material.rivals}
    figures = course_figures(courses, material.on_gpus) if len(material.course.volume) else {}
    matters = matter_figures(material)
    figures |= matters
    data = {
        "points": points_data(material, {key: i for key, i in keys.items() if isinstance(key, tuple)}),
        "strips": [_strip(strip) for strip in strips.values()],
        "special": {key: i for key, i in keys.items() if isinstance(key, str)},
        "cells": {"prompts": material.album.prompts, "grades": material.album.grades, "limbs": material.album.limbs},
        "gallery": [row.index for row in _beside(rows)],
        "figures": figures,
    }
    context = {
        "m": material,
        "summary": summary(material),
        "rows": rows,
        "scores": shown_scores(material),
        "figures": figures,
        "beside": len(_beside(rows)),
        "reference": [_uri(image) for image in material.album.reference],
        "spent": spent_rows(material),
        "stops": material.stops,
        "saved": saved_words(material),
        "rivals": material.rivals,
        "matters": bool(matters),
        "findings": findings(material.observations, material.space, material.confirmation),
        "caveat": CAVEAT,
        "importance": [name for name in matters if name.startswith("importance")],
        "effects": [name for name in matters if name.startswith("effect")],
        "crowded": len({o.trial for o in material.observations}) > FAINT,
        "command": material.command,
    }
    return page("report.html.j2", SCRIPTS, data, **context)


def page(template: str, scripts: Sequence[str], data: Mapping[str, Any], **context: Any) -> str:
    """A template of this package with its style, scripts, data and Plotly's script in it. No address is fetched."""
    return (
        _environment()
        .from_string(_text(template))
        .render(
            style=Markup(_text("style.css")),
            plotly=Markup(_plotly()),
            scripts=[Markup(_text(name)) for name in scripts],
            data=Markup(as_json(data)),
            **context,
        )
    )


def as_json(data: Any) -> str:
    """For a script element, which `</script>` in a text would end."""
    return json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def summary(material: Material) -> list[tuple[str, str]]:
    """What there is in numbers, by name."""
    trials = len({o.trial for o in material.observations})
    checkpoints = len({(o.trial, o.steps) for o in material.observations})
    found = [("trials", f"{trials:,}"), ("scored checkpoints", f"{checkpoints:,}")]
    if len(material.observations) > checkpoints:
        found.append(("observations", f"{len(material.observations):,}"))
    losses = front_losses(material.objectives, material.requirements, [o.scores for o in material.observations])
    found.append(("on the front", f"{non_dominated(losses).sum():,}"))
    volume = f"{material.course.last:.4f}"
    if material.base_scores:
        base = hypervolume(to_losses(material.objectives, [material.base_scores]), REFERENCE_LOSS)
        volume += f" (untuned base {base:.4f})"
    found.append(("hypervolume", volume))
    if len(material.course.seconds):
        found.append(("time", duration(float(material.course.seconds[-1]))))
        whose = "GPUs" if material.on_gpus else "workers"
        found.append((f"time of {whose}", duration(float(material.course.worker_seconds[-1]))))
    return found


def duration(seconds: float) -> str:
    by, unit = time_unit(seconds)
    return f"{seconds / by:.3g} {unit}" if seconds < 1000 * by else f"{seconds / by:,.0f} {unit}"


def spent_rows(material: Material) -> list[tuple[str, str, float]]:
    """(part, seconds in words, its share)."""
    spent = material.spending
    names = {"train": "training", "score": "scoring: drawing and judging", "load": "loading", "wait": "waiting"}
    seconds = spent.parts | ({} if spent.waited is None else {"wait": spent.waited})
    return [(names[part], duration(seconds[part]), share) for part, share in spent.shares().items()]


def saved_words(material: Material) -> str:
    """What stopping saved against all trials to the last rung."""
    stopped = sum(rung.stopped for rung in material.stops)
    if not stopped:
        return "No trial was stopped."
    steps, seconds = (sum(getattr(rung, name) for rung in material.stops) for name in ("saved_steps", "saved_seconds"))
    taken = material.spending.parts["train"] + material.spending.parts["score"]
    share = f", {seconds / (seconds + taken):.0%} of what all trials to the last rung would have taken" if taken else ""
    return (
        f"Stopping {stopped} trials saved {steps:,} steps and about {duration(seconds)} of training and scoring{share}."
        " That time is an estimate: what later rungs took of the trials that came there, at each trial's own pace."
    )


def album_strips(material: Material) -> dict[Key | str, Strip]:
    """All strips of the page: `targets` and `base` by their names, the others by their observations' keys."""
    album = material.album
    special = {name: strip for name, strip in (("targets", album.targets), ("base", album.base)) if strip is not None}
    return special | dict(album.strips)


BESIDE = 12
"""So many of a front are shown side by side at most."""


def _beside(rows: Sequence[FrontRow]) -> list[FrontRow]:
    """Evenly along the front, with the knee and the pick among them."""
    if len(rows) <= BESIDE:
        return list(rows)
    marked = [i for i, row in enumerate(rows) if row.marks]
    spread = [round(i * (len(rows) - 1) / (BESIDE - len(marked) - 1)) for i in range(BESIDE - len(marked))]
    return [rows[i] for i in sorted({*marked, *spread})]


def _strip(strip: Strip) -> dict[str, Any]:
    joints = None if strip.joints is None else strip.joints.round(3).tolist()
    return {"image": _uri(strip.image), "count": strip.count, "side": strip.side, "joints": joints}


def _uri(image: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(image).decode('ascii')}"


def _text(name: str) -> str:
    return (files("analysis.report") / name).read_text(encoding="utf-8")


def _code(text: str) -> Markup:
    """What is in backticks as code."""
    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(Markup("<code>%s</code>") % part if i % 2 else part for i, part in enumerate(parts))


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FunctionLoader(_text), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.filters["duration"], made.filters["code"] = duration, _code
    return made
