"""The page: one HTML file that needs nothing else, made from the content of a report.

Nothing in it is loaded from elsewhere, which its content security policy also forbids: it allows its own style sheet
and its own script by their SHA-256, and images that the file itself holds. Whatever comes from listings is escaped.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import asdict
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ensemble.decision.bootstrap import CONFIDENCE
from ensemble.report import charts, graph_chart
from ensemble.report.content import Report
from ensemble.report.threshold_curve import CurvePoint, ThresholdCurve
from ensemble.review.quality import FEW

METRIC_WORDS = {
    "row_f1": ("row F1", "mean over listings: F1 between its matches and its true matches"),
    "row_precision": ("row precision", "mean over listings: share of its matches that are right, itself included"),
    "row_recall": ("row recall", "mean over listings: share of its true matches that it got, itself included"),
    "pair_precision": ("pair precision", "share of the matched pairs that are right"),
    "pair_recall": ("pair recall", "share of the true pairs that are matched"),
    "pair_f1": ("pair F1", "harmonic mean of pair precision and pair recall"),
    "b3_f1": ("B³ F1", "harmonic mean of B³ precision and recall of the groups"),
}


def html(report: Report, key: str = "") -> str:
    """Return the page of a report.

    Args:
        report: Its content.
        key: Digest of all that it was made from; the page holds it, see `key_of`.
    """
    environment = Environment(
        loader=PackageLoader("ensemble.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"count": "{:,}".format, "percent": percent, "short": charts.short, "duration": duration}
    style, script = (_source(environment, name) for name in ("style.css", "script.js"))
    names = {
        "charts": charts,
        "graphs": graph_chart,
        "metric_words": METRIC_WORDS,
        "confidence": CONFIDENCE,
        "few": FEW,
    }
    return environment.get_template("report.html").render(
        report=report,
        key=key,
        policy=policy(style, script),
        style=Markup(style),
        script=Markup(script),
        curves=as_json([curve_values(each.curve) for each in report.catalogs]),
        **names,
    )


def _source(environment: Environment, name: str) -> str:
    """Return the text of a file of this package that is no template."""
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def policy(style: str, script: str) -> str:
    """Return the content security policy of a page with one style sheet and one script.

    Examples:
        >>> policy("", "").split("; ")[0]
        "default-src 'none'"
    """
    sources = {"default-src": "'none'", "img-src": "data:", "style-src": _hash(style), "script-src": _hash(script)}
    sources |= {"base-uri": "'none'", "form-action": "'none'"}
    return "; ".join(f"{name} {source}" for name, source in sources.items())


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def as_json(value: Any) -> Markup:
    r"""Return JSON that may stand in a script element: nothing in it can end the element.

    Examples:
        >>> print(as_json(["</script>"]))
        ["\u003c/script\u003e"]
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def curve_values(curve: ThresholdCurve | None) -> dict[str, Any] | None:
    """Return the numbers that the script reads off a curve, rounded; None where there is no curve."""
    if curve is None:
        return None
    points = {"points": _rounded(curve.points), "catalog": _rounded(curve.catalog)}
    return points | {"chosen": curve.chosen}


def _rounded(points: list[CurvePoint]) -> list[dict[str, Any]]:
    return [
        {name: round(value, 5) if isinstance(value, float) else value for name, value in asdict(point).items()}
        for point in points
    ]


def percent(share: float, digits: int = 1) -> str:
    """Return a share as a percentage.

    Examples:
        >>> percent(0.5), percent(0.12345, 2)
        ('50.0 %', '12.35 %')
    """
    return f"{100 * share:.{digits}f} %"


def duration(seconds: float) -> str:
    """Return a time in words.

    Examples:
        >>> duration(3.21), duration(75), duration(7300)
        ('3.2 s', '75 s', '2.0 h')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
