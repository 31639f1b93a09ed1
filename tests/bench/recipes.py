"""What the recipes of examples/ give on real data, beside the plain way.

python -m tests.bench.recipes entities [--set table.key=value ...]
python -m tests.bench.recipes news COLLECTION [--every 1]
python -m tests.bench.recipes generations COLLECTION [--prefixes 100] [--scorer NAME ...]

entities wants Babel, whose CLDR names territories in every language. Its mentions are names in
languages that the dictionary lacks; COLLECTION is a folder in BEIR's layout.
"""

import argparse
import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from tests.bench.beir import Collection

EXAMPLES = Path(__file__).parents[2] / "examples"
#: Of the dictionary, and of the mentions.
KNOWN, OTHERS = ("en", "de", "fr", "es"), ("it", "nl", "pt", "sv")
#: Candidates of a prefix, one of which is right.
CANDIDATES = 10

Rows = list[dict[str, Any]]


def example(name: str) -> ModuleType:
    """A program of examples/, as a module."""
    spec = spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec
    assert spec.loader
    made = module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def entities(asked: argparse.Namespace, folder: Path) -> None:
    """One name an entity, all names as one text, and each name a passage."""
    names = {language: territories(language) for language in (*KNOWN, *OTHERS)}
    codes = sorted(set.intersection(*(set(each) for each in names.values())))
    dictionary = {code: [names[language][code] for language in KNOWN] for code in codes}
    mentions = [
        {"_id": f"{code}-{language}", "text": names[language][code], "entity": code}
        for language in OTHERS
        for code in codes
        if names[language][code].casefold() not in map(str.casefold, dictionary[code])
    ]
    print(f"{len(codes)} entities, {len(mentions)} mentions")
    ways = {
        "English names": {code: each[:1] for code, each in dictionary.items()},
        "all names as one text": {code: [" ".join(each)] for code, each in dictionary.items()},
        "each name a passage": dictionary,
    }
    linking = example("entity_linking")
    for number, (way, held) in enumerate(ways.items()):
        rows = [{"_id": code, "names": each} for code, each in held.items()]
        ranked = linking.link(rows, mentions, folder / str(number), overrides=asked.set)
        print(way, rounded(ranked.metrics))


def territories(language: str) -> dict[str, str]:
    """By their codes of two letters."""
    from babel import Locale

    held: Mapping[str, str] = Locale(language).territories
    return {code: name for code, name in held.items() if len(code) == 2 and code.isalpha()}


#: What looks like a name: a word with a capital that does not begin a sentence, or a handle.
NAME = re.compile(r"(?<=[a-z,;] )(?:[A-Z][\w’'.-]*\s?)+|@\w+")


def news(asked: argparse.Namespace, folder: Path) -> None:
    """A collection whose queries are about named people: as it is, and masked."""
    collection = Collection(asked.collection, folder, asked.every)
    articles, queries = read(collection.corpus()), read(collection.queries)
    judged = {judgement.query_id for judgement in collection.judgements}
    queries = [row for row in queries if row["_id"] in judged]
    search = example("masked_news").search
    ways: dict[str, Callable[[str], str]] = {
        "as it is": lambda text: text,
        "masked": lambda text: NAME.sub("[MASK] ", text),
    }
    for way, mask in ways.items():
        given = {"qrels": collection.qrels, "overrides": [*asked.set, "reranker.model=off"]}
        ranked = search(articles, queries, folder / way.replace(" ", "-"), mask, **given)
        print(way, rounded(ranked.metrics))


def generations(asked: argparse.Namespace, folder: Path) -> None:
    """The first halves of documents, and which of ten second halves is theirs."""
    documents = read(asked.collection / "corpus.jsonl")
    halves = [cut for row in documents if (cut := in_two(row["text"]))]
    rng = random.Random(0)
    rows, right = [], []
    for number in rng.sample(range(len(halves)), asked.prefixes):
        others = rng.sample([n for n in range(len(halves)) if n != number], CANDIDATES - 1)
        shown = [number, *others]
        rng.shuffle(shown)
        right.append(shown.index(number))
        texts = [halves[n][1] for n in shown]
        rows.append({"_id": f"p{number}", "prefix": halves[number][0], "candidates": texts})
    for number, scorer in enumerate(asked.scorer or ["retrieval"]):
        given = {"overrides": asked.set}
        found = example("rank_generations").rank(rows, folder / str(number), scorer, **given)
        first = [found[row["_id"]][0] == n for row, n in zip(rows, right, strict=True)]
        print(f"{scorer}: the right one is first {sum(first)} of {len(first)} times")


def in_two(text: str) -> tuple[str, str] | None:
    """A text of four sentences or more, by these."""
    sentences = [each.strip() for each in re.split(r"(?<=\.)\s", text) if each.strip()]
    middle = len(sentences) // 2
    if len(sentences) < 4:
        return None
    return " ".join(sentences[:middle]), " ".join(sentences[middle:])


def read(path: Path) -> Rows:
    """JSON Lines."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def rounded(metrics: Any) -> dict[str, dict[str, float]]:
    """As they are printed."""
    return {
        order: {name: round(value, 4) for name, value in values.items()}
        for order, values in metrics.items()
    }


def main(words: Sequence[str] | None = None) -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    known = parser.add_subparsers(required=True)
    for run in (entities, news, generations):
        one = known.add_parser(run.__name__)
        one.set_defaults(run=run)
        one.add_argument("--set", action="append", default=[])
        if run is not entities:
            one.add_argument("collection", type=Path)
        if run is news:
            one.add_argument("--every", type=int, default=1)
        if run is generations:
            one.add_argument("--prefixes", type=int, default=100)
            one.add_argument("--scorer", action="append", default=[])
    asked = parser.parse_args(words)
    with TemporaryDirectory() as folder:
        asked.run(asked, Path(folder))


if __name__ == "__main__":
    main()
