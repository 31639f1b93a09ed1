"""Metrics by the names that ir-measures knows them by, such as nDCG@10, AP(rel=2) or R@1000.

https://ir-measur.es
"""

import ast
import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any

import ir_measures

from shardrank.core.capped_ap import CappedAP
from shardrank.core.errors import SettingsError

_FORM = re.compile(r"(\w+)(?:\((.*)\))?(?:@([0-9.]+))?")
_KNOWN: Mapping[str, Any] = {**ir_measures.measures.registry, CappedAP.NAME: CappedAP}
#: Judgements and rankings of a few documents that a metric must cope with: graded ones, nothing but
#: a relevant document, nothing relevant, and a relevant one that is not found. Names are digits,
#: since gdeval takes no others for queries.
_JUDGED = {"1": {"1": 1, "2": 0, "3": 2}, "2": {"1": 1}, "3": {"1": 0}, "4": {"1": -1, "2": 1}}
_RANKED = {
    "1": {"1": -1.0, "2": -2.0, "3": -3.0},
    "2": {"1": -1.0},
    "3": {"1": -1.0},
    "4": {"3": -1.0},
}


@cache
def measure(name: str) -> Any:
    """The measure of ir-measures that a metric's name stands for.

    Raises:
        SettingsError: there is none, or it cannot be computed here.
    """
    form = _FORM.fullmatch(name)
    kind = _KNOWN.get(form[1]) if form else None
    if form is None or kind is None:
        raise _unknown(name)
    try:
        parameters = _parameters(form[2] or "", kind.AT_PARAM, form[3])
        _require_sound(parameters)
        found = kind(**parameters)
        found.validate_params()
        list(ir_measures.iter_calc([found], _JUDGED, _RANKED))
    except Exception as error:  # each of the libraries below ir-measures raises its own
        raise SettingsError(
            f"The metric {name} cannot be computed: {_plain(error)}.",
            "See https://ir-measur.es/en/latest/measures.html",
        ) from error
    return found


def cutoff(name: str) -> int | None:
    """How many first documents a metric looks at; None: at all."""
    found = measure(name).params.get("cutoff")
    return found if isinstance(found, int) else None


def alone(name: str) -> bool:
    """Whether a metric has other parameters than a cutoff. ir-measures computes several metrics in
    one go, and lends one's gains, least grade and judged_only to others that name none."""
    return set(measure(name).params) - {"cutoff"} != set()


def _parameters(written: str, at: str, value: str | None) -> dict[str, Any]:
    call = ast.parse(f"f({written})", mode="eval").body
    if not isinstance(call, ast.Call) or call.args:
        raise ValueError("parameters have the form (name=value)")
    found = {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
    return found if value is None else {**found, at: ast.literal_eval(value)}


def _require_sound(parameters: Mapping[str, Any]) -> None:
    """Raises ValueError for what ends the process in trec_eval's code, or means nothing."""
    for name in ("cutoff", "rel"):
        if name in parameters and not 1 <= parameters[name] < 1 << 31:
            raise ValueError(f"{name} must be 1 at least")
    if any(not 0 <= gain <= 1 << 20 for gain in parameters.get("gains", {}).values()):
        raise ValueError("gains must lie between 0 and 1048576")


def _plain(error: Exception) -> str:
    """What a library said, on one line; an object that stands for nothing is no word."""
    said = re.sub(r"<object object at \w+>", "nothing", " ".join(str(error).split()))
    return f"{said.rstrip('.')} ({type(error).__name__})"


def _unknown(name: str) -> SettingsError:
    """That there is no such metric, and which one is nearly called so."""
    first = re.match(r"\w*", name)
    word = first[0] if first else ""
    # NDCG is another name of nDCG: of names that only differ in case, the measure's own counts.
    names = {
        known
        for known, kind in _KNOWN.items()
        if known == kind.NAME or known.lower() != kind.NAME.lower()
    }
    lower = {known.lower(): known for known in names}
    near = get_close_matches(word.lower(), lower, 1)
    meant = f"Did you mean {lower[near[0]]}{name[len(word) :]}? " if near else ""
    known = ", ".join(sorted(filter(str.isascii, names), key=str.lower))
    return SettingsError(
        f"There is no metric {name!r}.", f"{meant}ir-measures knows {known}; a cutoff follows @."
    )
