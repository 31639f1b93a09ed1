"""Judgements as other readers have them, and what is refused because they would be guessed."""

import csv
import gzip
import io

import ir_measures
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardrank.core.errors import InputError
from shardrank.core.evaluation import Judgement
from shardrank.corpus.qrels import read_qrels

BEIR = b"query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n"
EXPECTED = [Judgement("q1", "d1", 2), Judgement("q1", "d2", 0)]


@pytest.mark.parametrize(
    "data",
    [
        BEIR,
        BEIR.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + BEIR + b"\n\n",
        b"q1 0 d1 2\nq1\t0\td2\t0",
        b"q1 Q0  d1 2 \n\nq1 Q0 d2 0\n",
        b"q1 0 d1 2\r\nq1 0 d2 0\r\n",
        gzip.compress(BEIR, mtime=0),
        pa.compress(BEIR, "zstd", asbytes=True),
        BEIR + b"q1\td1\t2\n",
        b'"query-id"\t"corpus-id"\t"score"\n"q1"\t"d1"\t2\nq1\t"d2"\t0\n',
        b"Query_ID\tDoc ID\trelevance\nq1\td1\t2\nq1\td2\t0\n",
        b"corpus-id\tquery-id\tscore\nd1\tq1\t2\nd2\tq1\t0\n",
        b"score\tqid\tpid\n2\tq1\td1\n0\tq1\td2\n",
        b"qid\titer\tdocid\trel\nq1\t0\td1\t2\nq1\t\td2\t0\n",
    ],
)
def test_formats(data: bytes) -> None:
    assert read_qrels(data, "test.tsv") == EXPECTED


def test_negative_relevance() -> None:
    assert read_qrels(b"q 0 d -2", "x")[0].relevance == -2


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "empty"),
        (b" \n\n", "empty"),
        (b"query-id\tcorpus-id\tscore\n", "only a header"),
        (BEIR + b"q2\td3\n", "line 4.*q2"),
        (BEIR + b"q2\td3\t1.5\n", "line 4.*1.5"),
        (BEIR + b"q2\t\t1\n", "line 4"),
        (b"q1\td1\t1\n", "line 1"),
        (b"q1 0 d1 1\nq1 0 d2 high\n", "line 2.*high"),
        (b"q1,d1,1\n", "line 1"),
        (b"{}\n", "line 1"),
        (b"\xff\n", "UTF-8"),
        (BEIR.decode().encode("utf-16"), "UTF-8"),
        (BEIR.replace(b"\n", b"\r"), "line 1"),
        (gzip.compress(BEIR, mtime=0)[:-9], "damaged"),
        (b"q1\td1\t1.5\nq1\td2\t1\n", "line 1.*neither a judgement nor a header"),
        (b"a\tb\tc\nq1\td1\t1\n", "line 1.*neither a judgement nor a header"),
        (b"query-id\tqid\tscore\nq1\td1\t1\n", "line 1.*neither a judgement nor a header"),
        (b"q1 Q0 d1 1 0.5 run\n", "line 1"),
        (BEIR + b"q1\td1\t0\n", "lines 2 and 4.*'q1'.*'d1'.*judged 2 and 0"),
        (b"q 0 d 1\nq 0 d -1\n", "lines 1 and 2.*judged 1 and -1"),
        (BEIR + b"q2\td3\t4294967296\n", "line 4"),
        (BEIR + b'q2\t"d3\t1\n', "line 4.*quotes"),
    ],
)
def test_anything_else(data: bytes, complaint: str) -> None:
    with pytest.raises(InputError, match=f"(?s)test.tsv.*{complaint}"):
        read_qrels(data, "test.tsv")


_ids = st.text("abz09._:-#'\u00e9\u4e2d\"", min_size=1, max_size=6)
_judged = st.dictionaries(st.tuples(_ids, _ids), st.integers(-2, 4), min_size=1)
_ends = st.sampled_from(["\n", "\r\n"])


@given(_judged, _ends, st.sampled_from([" ", "\t", "  "]))
def test_trecs_files_are_read_as_ir_measures_reads_them(
    judged: dict[tuple[str, str], int], end: str, gap: str
) -> None:
    rows = (gap.join([query, "0", doc, str(grade)]) for (query, doc), grade in judged.items())
    text = "".join(row + end for row in rows)
    expected = [(q.query_id, q.doc_id, q.relevance) for q in ir_measures.read_trec_qrels(text)]
    found = [(j.query_id, j.doc_id, j.relevance) for j in read_qrels(text.encode(), "x")]
    assert found == expected


@given(_judged, _ends)
def test_beirs_files_are_read_as_beir_reads_them(
    judged: dict[tuple[str, str], int], end: str
) -> None:
    """`beir.datasets.data_loader.GenericDataLoader._load_qrels`, written out."""
    written = io.StringIO()
    writer = csv.writer(written, delimiter="\t", lineterminator=end)
    writer.writerow(["query-id", "corpus-id", "score"])
    writer.writerows([query, doc, grade] for (query, doc), grade in judged.items())
    reader = csv.reader(io.StringIO(written.getvalue()), delimiter="\t", quoting=csv.QUOTE_MINIMAL)
    next(reader)
    expected = [(row[0], row[1], int(row[2])) for row in reader]
    found = read_qrels(written.getvalue().encode(), "x")
    assert [(j.query_id, j.doc_id, j.relevance) for j in found] == expected
