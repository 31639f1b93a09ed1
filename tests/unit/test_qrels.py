import pytest

from pipelines.core.errors import InputError
from pipelines.core.evaluation import Judgement
from pipelines.corpus.qrels import read_qrels

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
    ],
)
def test_anything_else(data: bytes, complaint: str) -> None:
    with pytest.raises(InputError, match=f"(?s)test.tsv.*{complaint}"):
        read_qrels(data, "test.tsv")
