"""Entity linking: mentions, to the entities of a dictionary that has several names for each.

    python examples/entity_linking.py [ENTITIES MENTIONS FOLDER] [--settings FILE]

ENTITIES is JSON Lines of {"_id", "names"}, the names a list in any languages; MENTIONS of {"_id",
"text"} and, where it is known, the "entity". Without paths, a few diseases in four languages.

A bi-encoder finds names and a cross-encoder reads the mention beside them, as in ClinLinker
(Gallego et al. 2024, arXiv 2404.06367) and xMEN (Borchert et al. 2023, arXiv 2310.11275). An entity
is a document, and each of its names a line and so a passage of its own (passages.by = lines). So
search counts entities and no names: --set search.k=25 gives 25 entities, each by its best name,
which is the one that is reranked, and metrics, report and labels are of entities too.

What it prints: Accuracy@1 and Recall@k by entity, where entities are known, before and after
reranking; and for each mention the first entities with the names that were found. A reranker that
knows sentences alone may be worse than none; --set reranker.model=off leaves it out. Mentions in
languages that the names lack want a bi-encoder of several languages.
"""

import argparse
import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import shardrank

Rows = Iterable[Mapping[str, Any]]

ENTITIES = {
    "fever": ["fever", "pyrexia", "Fieber", "fiebre", "fièvre"],
    "headache": ["headache", "cephalalgia", "Kopfschmerz", "dolor de cabeza", "mal de tête"],
    "heart-attack": [
        "heart attack",
        "myocardial infarction",
        "Herzinfarkt",
        "infarto de miocardio",
        "crise cardiaque",
    ],
    "hypertension": [
        "hypertension",
        "high blood pressure",
        "Bluthochdruck",
        "hipertensión arterial",
        "tension artérielle élevée",
    ],
    "hypotension": ["hypotension", "low blood pressure", "niedriger Blutdruck", "hipotensión"],
    "migraine": ["migraine", "hemicrania", "Migräne", "migraña"],
    "pneumonia": ["pneumonia", "Lungenentzündung", "neumonía", "pneumonie"],
}
#: Mention, and what is meant.
MENTIONS = {
    "elevated blood pressure": "hypertension",
    "infarto agudo de miocardio": "heart-attack",
    "starke Kopfschmerzen": "headache",
    "fièvre élevée": "fever",
    "bilateral pneumonia": "pneumonia",
    "migraña con aura": "migraine",
}
#: Accuracy@1 is what ir-measures calls Success@1, where one entity is right.
LINKING = ("passages.by=lines", "evaluate.metrics=Success@1,Recall@5,Recall@25")
#: No model's input is shorter. A name that was cut would be several passages.
LONGEST = 200


def write_rows(path: Path, rows: Rows) -> Path:
    """JSON Lines."""
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    return path


def read_rows(path: str) -> list[dict[str, Any]]:
    """JSON Lines; ids are texts."""
    lines = Path(path).read_text("utf-8").split("\n")
    rows = [json.loads(line) for line in lines if line.strip()]
    return [{**row, "_id": str(row["_id"])} for row in rows]


def lines_of(entity: str, names: list[str]) -> list[str]:
    """Each name once, on a line of its own."""
    lines = list(dict.fromkeys(" ".join(name.split()) for name in names))
    wrong = [line for line in lines if not 0 < len(line) <= LONGEST]
    if wrong or not lines:
        raise SystemExit(f"{entity}: names have 1 to {LONGEST} characters; found {wrong[:1]}.")
    return lines


def link(entities: Rows, mentions: Rows, folder: Path, **given: Any) -> Any:
    """Index the entities, rank them for each mention, and return the ranked run.

    Args:
        entities: {"_id", "names"}.
        mentions: {"_id", "text"}, and "entity" where it is known.
        folder: of the index and the ranking; given again, only what differs is embedded.
        given: settings and overrides, as `shardrank.index` takes them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    given["overrides"] = [*LINKING, *given.get("overrides", ())]
    mentions = list(mentions)
    documents = [
        {"_id": each["_id"], "text": "\n".join(lines_of(each["_id"], each["names"]))}
        for each in entities
    ]
    corpus = write_rows(folder / "entities.jsonl", documents)
    asked = [{"_id": each["_id"], "text": each["text"]} for each in mentions]
    queries = write_rows(folder / "mentions.jsonl", asked)
    known = [f"{each['_id']}\t{each['entity']}\t1\n" for each in mentions if each.get("entity")]
    qrels = folder / "qrels.tsv"
    qrels.write_text("".join(["query-id\tcorpus-id\tscore\n", *known]), "utf-8")
    shardrank.index(corpus, folder / "index", **given)
    judged = qrels if known else None
    return shardrank.rank(folder / "index", queries, folder / "ranked", qrels=judged, **given)


def show(entities: Rows, mentions: Rows, folder: Path, metrics: Any) -> None:
    """The metrics, and the first three entities of each mention, by the names that were found."""
    for order, values in (metrics or {}).items():
        called = {name.replace("Success", "Accuracy"): value for name, value in values.items()}
        print(order, {name: f"{value:.3f}" for name, value in called.items()})
    names = {each["_id"]: lines_of(each["_id"], each["names"]) for each in entities}
    texts = {each["_id"]: each["text"] for each in mentions}
    for table in shardrank.read_rankings(folder / "ranked"):
        for row in table.to_pylist():
            if row["rank"] == 1:
                print(texts[row["query_id"]])
            if row["rank"] <= 3:
                print(f"  {row['doc_id']}: {names[row['doc_id']][row['passage']]}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="*", help="ENTITIES, MENTIONS and FOLDER")
    parser.add_argument("--settings", help="a TOML file")
    parser.add_argument("--set", action="append", default=[], help="a setting of shardrank")
    given = parser.parse_args()
    if given.paths:
        files, folder = given.paths[:2], Path(given.paths[2])
        entities, mentions = (read_rows(path) for path in files)
        run(entities, mentions, folder, given)
    else:
        entities = [{"_id": name, "names": names} for name, names in ENTITIES.items()]
        mentions = [
            {"_id": f"m{number}", "text": text, "entity": entity}
            for number, (text, entity) in enumerate(MENTIONS.items())
        ]
        with tempfile.TemporaryDirectory() as made:
            run(entities, mentions, Path(made), given)


def run(entities: Rows, mentions: Rows, folder: Path, given: argparse.Namespace) -> None:
    """Link, and show."""
    ranked = link(entities, mentions, folder, settings=given.settings, overrides=given.set)
    show(entities, mentions, folder, ranked.metrics)


if __name__ == "__main__":
    main()
