"""News like news: names are masked on both sides, so that an event finds events like it.

    python examples/masked_news.py [ARTICLES QUERIES FOLDER --names FILE] [--settings FILE]

ARTICLES and QUERIES are JSON Lines in BEIR's layout ("_id", "title", "text"), the names a TSV of a
name and what stands in its place, such as "Lisbon", "a city". Without paths, a few made reports.

An encoder finds reports of the same people and places before it finds reports of what happened to
others. News Déjà Vu (Franklin et al. 2024, arXiv 2406.15593) masks entities before it embeds, in
the archive and in the query. Here that is any function of a text: `by_list` makes one of a list of
names, and yours may ask a model:

    recognise = transformers.pipeline("ner", model="…", aggregation_strategy="simple")

    def mask(text):
        for found in reversed(recognise(text)):
            text = text[: found["start"]] + KINDS[found["entity_group"]] + text[found["end"] :]
        return text

    search(read_rows("archive.jsonl"), read_rows("today.jsonl"), Path("news"), mask)

The masked texts are what is indexed, reranked and reported; the articles stay as they are, and
their ids lead to them. What it prints: the first articles of each query, as they are and masked.
"""

import argparse
import json
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import shardrank

Rows = Iterable[Mapping[str, Any]]
Mask = Callable[[str], str]

PERSON, CITY, FIRM = "a person", "a city", "a company"
NAMES = {
    "Anna Keller": PERSON,
    "Keller": PERSON,
    "Tom Osei": PERSON,
    "Osei": PERSON,
    "Marta Ruiz": PERSON,
    "Lisbon": CITY,
    "Norwich": CITY,
    "Graz": CITY,
    "Halden Steel": FIRM,
    "Ostrava Mills": FIRM,
}
ARTICLES = {
    "strike-1911": "Workers of Ostrava Mills in Graz laid down their tools over cut wages.",
    "bridge-1907": "A bridge in Norwich fell into the river. Marta Ruiz, who had passed it as "
    "safe, gave up her office.",
    "fever-1918": "Schools in Graz stay closed while the sickness spreads from house to house.",
    "keller-opera": "Anna Keller opened the new opera house in Lisbon with a speech.",
    "keller-bridge": "Anna Keller paints bridges. Her pictures are shown in Lisbon.",
    "halden-profit": "Halden Steel of Lisbon doubled its profit, said Tom Osei.",
    "osei-school": "Tom Osei gave a school in Lisbon new books.",
}
#: Each has one article of a like event.
QUERIES = {
    "bridge-1907": "A walkway in Lisbon fell down, and Anna Keller, who inspected it, resigned.",
    "strike-1911": "Halden Steel is shut: staff in Lisbon refuse to work for less, says Tom Osei.",
    "fever-1918": "Lisbon shuts its classrooms as an infection goes round, Keller announced.",
}


def by_list(names: Mapping[str, str]) -> Mask:
    """A mask of whole words: the longest name that stands at a place goes first."""
    longest_first = sorted(names, key=len, reverse=True)
    found = re.compile(rf"\b(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")
    return lambda text: found.sub(lambda name: names[name[0]], text)


def search(articles: Rows, queries: Rows, folder: Path, mask: Mask, **given: Any) -> Any:
    """Index the masked articles, rank them for the masked queries, and return the ranked run.

    Args:
        articles, queries: {"_id", "title", "text"}; a title need not be there.
        folder: of the index and the ranking; given again, only what differs is embedded.
        mask: a text → what stands for it.
        given: qrels, and settings and overrides as `shardrank.index` takes them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    qrels = given.pop("qrels", None)
    corpus = write_masked(folder / "articles.jsonl", articles, mask)
    # A query is a text alone: its title goes before it, as that of an article does.
    whole = ({**row, "text": f"{row.get('title') or ''} {row['text']}".strip()} for row in queries)
    asked = write_masked(folder / "queries.jsonl", whole, mask)
    shardrank.index(corpus, folder / "index", **given)
    return shardrank.rank(folder / "index", asked, folder / "ranked", qrels=qrels, **given)


def write_masked(path: Path, rows: Rows, mask: Mask) -> Path:
    """JSON Lines of the rows, their texts and titles masked."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            texts = {name: mask(row[name]) for name in ("title", "text") if row.get(name)}
            file.write(json.dumps({"_id": row["_id"], **texts}) + "\n")
    return path


def read_rows(path: str) -> list[dict[str, Any]]:
    """JSON Lines; ids are texts."""
    lines = Path(path).read_text("utf-8").split("\n")
    rows = [json.loads(line) for line in lines if line.strip()]
    return [{**row, "_id": str(row["_id"])} for row in rows]


def read_names(path: str) -> dict[str, str]:
    """A TSV of names and masks."""
    lines = Path(path).read_text("utf-8").splitlines()
    pairs = [line.split("\t") for line in lines if line]
    wrong = [pair for pair in pairs if len(pair) != 2 or not pair[0].strip()]
    if wrong or not pairs:
        raise SystemExit(f"{path}: a name, a tab and a mask to a line; found {wrong[:1]}.")
    return {name.strip(): mask for name, mask in pairs}


def show(articles: Rows, queries: Rows, folder: Path) -> None:
    """The first three articles of each query."""
    found, asked = ({row["_id"]: row["text"] for row in rows} for rows in (articles, queries))
    for table in shardrank.read_rankings(folder / "ranked"):
        for row in table.to_pylist():
            if row["rank"] == 1:
                print(f"  {asked[row['query_id']]}")
            if row["rank"] <= 3:
                print(f"    {row['doc_id']}: {found[row['doc_id']][:80]}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="*", help="ARTICLES, QUERIES and FOLDER")
    parser.add_argument("--names", help="a TSV of names and what stands in their place")
    parser.add_argument("--settings", help="a TOML file")
    parser.add_argument("--set", action="append", default=[], help="a setting of shardrank")
    given = parser.parse_args()
    settings = {"settings": given.settings, "overrides": given.set}
    if given.paths and not given.names:
        parser.error("--names FILE belongs to paths")
    if given.paths:
        articles, queries = (read_rows(path) for path in given.paths[:2])
        names = read_names(given.names)
        compare(articles, queries, Path(given.paths[2]), names, settings)
    else:
        articles = [{"_id": name, "text": text} for name, text in ARTICLES.items()]
        queries = [{"_id": f"like-{name}", "text": text} for name, text in QUERIES.items()]
        with tempfile.TemporaryDirectory() as made:
            compare(articles, queries, Path(made), NAMES, settings)


def compare(
    articles: Rows, queries: Rows, folder: Path, names: Mapping[str, str], given: dict[str, Any]
) -> None:
    """Rank texts as they are, and masked, and show what is found."""
    ways: dict[str, Mask] = {"as they are": lambda text: text, "masked": by_list(names)}
    for way, mask in ways.items():
        place = folder / way.replace(" ", "-")
        search(articles, queries, place, mask, **given)
        print(f"{way}:")
        show(articles, queries, place)


if __name__ == "__main__":
    main()
