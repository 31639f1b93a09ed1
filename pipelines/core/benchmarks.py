"""Benchmarks as their authors publish and score them: one value each, which `collect` reads by.

What is said here was read in the authors' repositories (docs/collections.md names the files). In a
glob `{part}` stands for a language, domain or data set of the benchmark, `{split}` for a split.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from shardrank.core.errors import SettingsError


@dataclass(frozen=True)
class Rows:
    """Documents or queries, row by row.

    Attributes:
        glob: the files, below SOURCE.
        id: the column of their ids; "": equal texts are one query, numbered as they come.
        text: that of their texts; "": they are pictures.
        title: that of their titles, if there is one.
        image: that of their pictures, if there is one.
        columns: of TSV without names the columns, in their order; of other forms none.
        form: TSV, CSV, or rows: JSON Lines and Parquet, by the files' names.
        of_part: a column that says of which part a row is; others are passed over.
    """

    glob: str
    id: str
    text: str
    title: str = ""
    image: str = ""
    columns: tuple[str, ...] = ()
    form: Literal["tsv", "csv", "rows"] = "rows"
    of_part: str = ""

    @property
    def readable(self) -> bool:
        """Whether `shardrank index` reads these files as they are."""
        return self.form == "rows" and not self.of_part and not self.image


@dataclass(frozen=True)
class Judged:
    """Where it stands which documents are relevant.

    Attributes:
        form: qrels (BEIR's or TREC's, of `glob`), pairs (rows of a CSV, each relevant), lists (in
            `document`, a column of the queries), or marks (each row of the queries' files is a pair
            with the grade in `grade`).
        glob: the files, below SOURCE; "": those of the queries.
        query, document, grade: columns.
    """

    form: Literal["qrels", "pairs", "lists", "marks"]
    glob: str = ""
    query: str = ""
    document: str = ""
    grade: str = ""


@dataclass(frozen=True)
class Benchmark:
    """A benchmark.

    Attributes:
        paper: its number on arXiv.
        source: where its files are published.
        scored_by: the authors' program that scores it, where one was found.
        documents: None: they are to be made by hand, as `notes` say.
        split: the one that is scored.
        metrics: theirs, by ir-measures' names; of queries with a judgement.
        k: documents that a query's ranking must hold for them.
        differs: what is not as in BEIR.
        parts: names of some of its parts.
        excluded: a column of the queries that lists documents to leave out.
        nothing: what stands in that list where there are none.
        before: a file, below SOURCE, whose text stands before every query.
    """

    paper: str
    source: str
    scored_by: str
    documents: Rows | None
    queries: Rows
    judged: Judged
    split: str
    metrics: tuple[str, ...]
    k: int
    differs: str
    parts: tuple[str, ...] = ()
    excluded: str = ""
    nothing: str = "N/A"
    before: str = ""

    @property
    def has_parts(self) -> bool:
        """Whether one of its parts must be named."""
        rows = [each for each in (self.documents, self.queries) if each]
        return self._names("{part}") or any(each.of_part for each in rows)

    @property
    def has_splits(self) -> bool:
        """Whether another split than the one that is scored may be named."""
        return self._names("{split}")

    def _names(self, field: str) -> bool:
        rows = [each for each in (self.documents, self.queries) if each]
        return any(field in glob for glob in (self.judged.glob, *(each.glob for each in rows)))


_BRIGHT = Benchmark(
    paper="2407.12883",
    source="huggingface.co/datasets/xlangai/BRIGHT",
    scored_by="xlang-ai/BRIGHT run.py",
    documents=Rows("documents/{part}-*.parquet", "id", "content"),
    queries=Rows("examples/{part}-*.parquet", "id", "query"),
    judged=Judged("lists", document="gold_ids"),
    split="test",
    metrics=("nDCG@10", "R@100", "RR"),
    k=1000,
    differs="each query excludes the documents in `excluded_ids` before anything is scored",
    parts=("biology", "economics", "leetcode", "aops", "theoremqa_theorems"),
    excluded="excluded_ids",
)
_RAR_B = Benchmark(
    paper="2404.06347",
    source="huggingface.co/RAR-b, a folder a task",
    scored_by="gowitheflow-1998/RAR-b rarb/evaluation_utils.py",
    documents=Rows("corpus.jsonl", "_id", "text", "title"),
    queries=Rows("queries.jsonl", "_id", "text"),
    judged=Judged("qrels", "qrels/{split}.tsv"),
    split="test",
    metrics=("nDCG@10", "R@10"),
    k=100,
    differs="BEIR's files; each task is scored with and without its instruction before the queries",
)

BENCHMARKS: Mapping[str, Benchmark] = {
    "bright": _BRIGHT,
    "bright-long": replace(
        _BRIGHT,
        documents=Rows("long_documents/{part}-*.parquet", "id", "content"),
        judged=Judged("lists", document="gold_ids_long"),
        metrics=("R@1", "nDCG@10"),
        differs="whole web pages; `gold_ids_long` are relevant; not of AoPS, LeetCode, TheoremQA",
        parts=("biology", "economics", "robotics", "pony"),
    ),
    "fincprg": Benchmark(
        paper="2508.02222",
        source="huggingface.co/datasets/valuesimplex-ai-lab/FinCPRG",
        scored_by="",
        documents=Rows("corpus.jsonl", "_id", "text"),
        queries=Rows("queries.jsonl", "_id", "text"),
        judged=Judged("qrels", "qrels/{part}.tsv"),
        split="all",
        metrics=("nDCG@10",),
        k=100,
        differs="BEIR's files; a file of judgements for each level of queries, over all passages",
        parts=("sentence_level", "paragraph_level", "topic_level", "sentence_level_extended"),
    ),
    "inquire": Benchmark(
        paper="2411.02537",
        source="github.com/inquire-benchmark/INQUIRE, data",
        scored_by="inquire-benchmark/INQUIRE src/metrics.py, eval_fullrank.py",
        documents=None,
        queries=Rows("inquire/inquire_queries_{split}.csv", "query_id", "query_text", form="csv"),
        judged=Judged("pairs", "inquire/inquire_annotations.csv", "query_id", "image_path"),
        split="test",
        metrics=("CappedAP@50", "nDCG@50", "RR@50", "P@50"),
        k=50,
        differs="AP@50 is divided by the relevant pictures or 50, whichever is less; the pictures "
        "of iNat24 must be put into Parquet under the names of the annotations",
    ),
    "inquire-rerank": Benchmark(
        paper="2411.02537",
        source="huggingface.co/datasets/evendrow/INQUIRE-Rerank",
        scored_by="inquire-benchmark/INQUIRE src/eval_clip_rerank_hf.py",
        documents=Rows("data/{split}-*.parquet", "inat24_image_id", "", image="image"),
        queries=Rows("data/{split}-*.parquet", "", "query"),
        judged=Judged("marks", document="inat24_image_id", grade="relevant"),
        split="test",
        metrics=("AP(judged_only=True)", "nDCG(judged_only=True)", "RR(judged_only=True)"),
        k=20_000,
        differs="only a query's own 100 pictures compete: all are judged, others are passed over",
    ),
    "loco": Benchmark(
        paper="2402.07440",
        source="huggingface.co/datasets/hazyresearch/LoCoV1-Documents and LoCoV1-Queries",
        scored_by="HazyResearch/m2 bert/loco_eval.py",
        documents=Rows("LoCoV1-Documents/**/*", "pid", "passage", of_part="dataset"),
        queries=Rows("LoCoV1-Queries/**/*", "qid", "query", of_part="dataset"),
        judged=Judged("lists", document="answer_pids"),
        split="test",
        metrics=("nDCG@10",),
        k=100,
        differs="data sets are mixed in one file, told apart by `dataset`; whole documents of up "
        "to 32,768 tokens; queries of documents without text are left out",
        parts=("qasper_abstract", "qasper_title", "multifieldqa", "gov_report", "qmsum"),
    ),
    "miracl": Benchmark(
        paper="2210.09984",
        source="huggingface.co/datasets/miracl/miracl-corpus and miracl/miracl",
        scored_by="castorini/pyserini, trec_eval -c",
        documents=Rows("miracl-corpus-v1.0-{part}/*.jsonl.gz", "docid", "text", "title"),
        queries=Rows(
            "miracl-v1.0-{part}/topics/topics.miracl-v1.0-{part}-{split}.tsv",
            "qid",
            "query",
            columns=("qid", "query"),
            form="tsv",
        ),
        judged=Judged("qrels", "miracl-v1.0-{part}/qrels/qrels.miracl-v1.0-{part}-{split}.tsv"),
        split="dev",
        metrics=("nDCG@10", "R@100"),
        k=100,
        differs="queries without a ranking count as 0 (`-c`)",
        parts=("yo", "sw", "bn", "en", "ja"),
    ),
    "multi-cpr": Benchmark(
        paper="2203.03367",
        source="github.com/Alibaba-NLP/Multi-CPR, data",
        scored_by="Alibaba-NLP/Multi-CPR retrieval/evaluate.py",
        documents=Rows(
            "{part}/corpus.tsv", "pid", "passage", columns=("pid", "passage"), form="tsv"
        ),
        queries=Rows(
            "{part}/{split}.query.txt", "qid", "query", columns=("qid", "query"), form="tsv"
        ),
        judged=Judged("qrels", "{part}/qrels.{split}.tsv"),
        split="dev",
        metrics=("RR@10", "Success@1000"),
        k=1000,
        differs="what they call Recall@1000 is whether any relevant passage is found",
        parts=("ecom", "medical", "video"),
    ),
    "rar-b": _RAR_B,
    "rar-b-instructed": replace(_RAR_B, before="instruction.txt"),
    "t2ranking": Benchmark(
        paper="2304.03679",
        source="huggingface.co/datasets/THUIR/T2Ranking, data",
        scored_by="THUIR/T2Ranking src/msmarco_eval.py; trec_eval -m ndcg_cut.5",
        documents=Rows("collection.tsv", "pid", "text", columns=("pid", "text"), form="tsv"),
        queries=Rows("queries.{split}.tsv", "qid", "text", columns=("qid", "text"), form="tsv"),
        judged=Judged("qrels", "qrels.{split}.tsv"),
        split="dev",
        metrics=("RR(rel=2)@10", "P(rel=2)@50", "NumRet(rel=2)", "nDCG@5"),
        k=1000,
        differs="grades 0 to 3: for retrieval 2 and 3 are relevant, nDCG@5 takes the grade as "
        "gain; their recall is of all pairs together, not a mean over queries",
    ),
}


def benchmark(name: str) -> Benchmark:
    """A benchmark by its name. Raises SettingsError where there is none."""
    found = BENCHMARKS.get(name)
    if found is None:
        raise SettingsError(
            f"There is no benchmark {name!r}.", f"Known are {', '.join(BENCHMARKS)}."
        )
    return found
