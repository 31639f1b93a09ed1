"""Settings of what is measured where there are judgements."""

from typing import Any

from pydantic import Field, field_validator

from shardrank.core.errors import SettingsError
from shardrank.core.settings_base import SettingsTable

#: nDCG@10 takes the judged relevance as gain and log2(rank + 1) as discount (Järvelin and
#: Kekäläinen, 2002, as in trec_eval); MRR@10 and Recall@100 count relevance of 1 and more.
DEFAULT_METRICS = ("nDCG@10", "MRR@10", "Recall@100")


class EvaluateSettings(SettingsTable):
    """[evaluate]: metrics of a ranking. They change nothing in it: `rank`, given again with others,
    only measures anew."""

    metrics: tuple[str, ...] = Field(
        DEFAULT_METRICS,
        min_length=1,
        description="metrics, by the names that [ir-measures](https://ir-measur.es) knows, such as "
        "AP, P@5, R@1000 or nDCG(judged_only=True)@10",
    )

    @field_validator("metrics", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """--set evaluate.metrics=nDCG@10,AP"""
        return tuple(_split(value)) if isinstance(value, str) else value

    @field_validator("metrics")
    @classmethod
    def _known(cls, metrics: tuple[str, ...]) -> tuple[str, ...]:
        from shardrank.core.measures import measure  # workers read settings, and measure nothing

        for name in metrics:
            measure(name)
            if metrics.count(name) > 1:
                raise SettingsError(f"evaluate.metrics names {name} twice.", "Name it once.")
        return metrics


def _split(text: str) -> list[str]:
    """At commas, but for those between brackets."""
    found, depth = [""], 0
    for letter in text:
        depth += (letter in "({") - (letter in ")}")
        if letter == "," and not depth:
            found.append("")
        else:
            found[-1] += letter
    return [name.strip() for name in found]
