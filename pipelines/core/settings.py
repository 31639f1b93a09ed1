"""Every setting, its default and its meaning. One frozen object a table of the TOML.

Fields marked `resize` do not change results (pool and batch sizes): they stay out of every
fingerprint, so that resizing a cluster never throws work away.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    field_validator,
    model_validator,
)

from shardrank.core.errors import SettingsError

#: The column of the first encoder, and the index over it.
DENSE = "dense"

Dtype = Literal["auto", "fp32", "bf16", "fp16", "int8"]
_DTYPE = "of the forward pass: fp32, bf16, fp16, or int8 (CPUs only)"
SparseDtype = Literal["auto", "fp32", "bf16", "fp16"]
Stored = Literal["fp16", "fp32"]
Pooling = Literal["auto", "mean", "cls", "last"]


def resize(default: Any, description: str, **limits: Any) -> Any:
    """A field that changes speed or memory, or whether a run goes on, never its results."""
    return Field(default, description=description, json_schema_extra={"resize": True}, **limits)


class SettingsTable(BaseModel):
    """Base of the settings tables: frozen, and unknown names are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False
    )

    def deciding(self) -> dict[str, Any]:
        """The fields that change results, as JSON: what a fingerprint takes in."""
        names = [n for n, f in type(self).model_fields.items() if not _resizes(f.json_schema_extra)]
        return self.model_dump(mode="json", include=set(names))


#: How a table stands in a paper that names work: by the fields that change results.
DECIDING = PlainSerializer(SettingsTable.deciding)


def _resizes(extra: Any) -> bool:
    return isinstance(extra, dict) and extra.get("resize") is True


def _several(given: Any) -> Any:
    """A table [name] is an array [[name]] of one."""
    return (given,) if isinstance(given, Mapping | SettingsTable) else given


#: What columns and retrievers are called: their names stand in those of folders.
_NAME = r"^[a-z0-9][a-z0-9_-]{0,39}$"


class CorpusSettings(SettingsTable):
    """[corpus]: how the source files of documents and queries are read."""

    id: str = Field("_id", description="column of the document's or query's id")
    title: str = Field("title", description="column of the title; it may be absent")
    text: str = Field("text", description="column of the text")
    tombstone: str | None = Field(
        None, description="column that is true where a row only says that its document is gone"
    )
    allow_unread: bool = resize(
        False, "go on where files that look like data are not read, such as .csv or .jsonl.bz2"
    )
    order: str | None = Field(
        None,
        description="column of numbers, times or texts: of rows with one id the highest counts; "
        "default: the last",
    )
    max_document_bytes: int = Field(
        16 << 20, ge=1, description="a document over this many bytes of UTF-8 is rejected"
    )
    max_id_bytes: int = Field(512, ge=1, description="an id over this many bytes is rejected")
    slice_bytes: int = Field(
        64 << 20, ge=1, description="source bytes in one unit of reading, where files can be cut"
    )


class PassageSettings(SettingsTable):
    """[passages]: how documents become passages and parts."""

    split: bool = Field(True, description="split long documents; false keeps one passage each")
    max_tokens: int | None = Field(
        None,
        ge=16,
        description="an input's tokens, with title, prompt and special ones, up to the "
        "encoder's limit, which is the default",
    )
    overlap: int = Field(32, ge=0, description="tokens that two neighbouring passages share")
    part_size: int | None = Field(
        None,
        ge=1,
        le=1 << 20,
        description="passages in a part; default: the index's, for a new one by size, 512 to 16384",
    )


class EncoderSettings(SettingsTable):
    """[encoder]: the bi-encoder. Fields left at "auto" or none come from the model's own files."""

    family: Literal["dense"] = Field("dense", description="vectors of texts")
    name: str = Field("dense", pattern=_NAME, description="of its column, and the index over it")
    model: str = Field("embedded", description="a folder, a hub name, or embedded")
    revision: str | None = Field(None, description="the hub's revision: a branch, tag or commit")
    pooling: Pooling = Field("auto", description="mean, cls, last, or auto")
    normalise: bool | None = Field(None, description="divide by the L2 norm; default: the model's")
    query_prompt: str | None = Field(None, description="put before queries; default: the model's")
    document_prompt: str | None = Field(None, description="put before texts; default: the model's")
    max_tokens: int | None = Field(
        None, ge=8, description="the longest input in tokens, special ones included"
    )
    dim: int | None = Field(
        None, ge=1, description="keep the first components only (Matryoshka), then normalise"
    )
    dtype: Dtype = Field(
        "auto",
        description=f"{_DTYPE}; auto: the index's; for a new one bf16 where this machine "
        "multiplies it (for BERT's family), else as the model's files",
    )
    stored: Stored = Field("fp16", description="type of the stored vectors")
    trust_remote_code: bool = Field(False, description="run code that comes with the model")
    batch_tokens: int | None = resize(
        None, "tokens in one forward pass; default: 1024 on a CPU, 65536 on a GPU", ge=1
    )


class Bm25Settings(SettingsTable):
    """[[encoder]] of family bm25: words, weighted by how often they occur."""

    family: Literal["bm25"] = Field("bm25", description="how often words occur")
    name: str = Field("bm25", pattern=_NAME, description="of its column, and the index over it")
    stop_words: Literal["english", "none"] = Field(
        "english", description="words that are left out: 33 English ones, or none"
    )


class SparseSettings(SettingsTable):
    """[[encoder]] with family = "sparse": a learned sparse encoder, such as SPLADE. Fields left at
    "auto" or none come from the model's own files."""

    family: Literal["sparse"] = Field("sparse", description="terms of a vocabulary, with weights")
    name: str = Field("sparse", pattern=_NAME, description="of its column, and the index over it")
    model: str = Field(min_length=1, description="a folder, or a hub name")
    revision: str | None = Field(None, description="the hub's revision: a branch, tag or commit")
    query_prompt: str | None = Field(None, description="put before queries; default: the model's")
    document_prompt: str | None = Field(None, description="put before texts; default: the model's")
    max_tokens: int | None = Field(
        None, ge=8, description="the longest input in tokens, special ones included"
    )
    dtype: SparseDtype = Field(
        "auto",
        description="of the forward pass: fp32, bf16 or fp16; auto: as the model's files",
    )
    top: int | None = Field(
        None,
        ge=1,
        description="a passage keeps so many terms, the strongest; default: the model's "
        "max_active_dims, else all",
    )
    trust_remote_code: bool = Field(False, description="run code that comes with the model")
    batch_tokens: int | None = resize(
        None, "tokens in one forward pass; default: 1024 on a CPU, 65536 on a GPU", ge=1
    )


def _family(given: Any) -> Any:
    """Of a table or its settings: dense where it is not said."""
    if isinstance(given, Mapping):
        return given.get("family", "dense")
    return getattr(given, "family", None)


#: A table that says how a column is made.
ColumnSettings = Annotated[
    Annotated[EncoderSettings, Tag("dense")]
    | Annotated[Bm25Settings, Tag("bm25")]
    | Annotated[SparseSettings, Tag("sparse")],
    Discriminator(_family),
]


class IndexSettings(SettingsTable):
    """[index]: the shards. Sizes left at none come from arithmetic: pipelines/version/sizing.py."""

    of: str = Field("dense", description="the column that it is over, by its encoder's name")
    kind: Literal["auto", "exact", "ivfpq", "ivfsq8"] = Field(
        "auto",
        description="of vectors; auto: exact up to exact_below passages, else ivfpq; ivfsq8 keeps "
        "a byte for each component: larger, and finds as much with fewer lists",
    )
    exact_below: int = Field(50_000, ge=0, description="passages up to which auto means exact")
    bytes_per_vector: int = Field(48, ge=1, description="budget of the PQ code in bytes")
    nlist: int | None = Field(None, ge=1, description="coarse centroids; default: by arithmetic")
    pq_m: int | None = Field(None, ge=1, description="sub-quantisers; default: by the byte budget")
    pq_bits: int = Field(8, ge=4, le=8, description="bits of one sub-quantiser's code")
    opq: bool | None = Field(None, description="rotate before PQ; default: where it helps")
    train_rows: int | None = Field(
        None, ge=1, description="training sample; default: by arithmetic"
    )
    shard_passages: int = Field(1_000_000, ge=1, description="passages in a shard, at most")
    seed: int = Field(0, ge=0, description="of the sample, the training and the audit")
    device: Literal["auto", "cpu", "gpu"] = resize("auto", "where shards are built")


class AuditSettings(SettingsTable):
    """[audit]: what an index must show before it is published."""

    target: float = Field(0.95, ge=0, le=1, description="Recall@k against exact search")
    k: int = Field(100, ge=1, description="documents that recall counts: Recall@k")
    queries: int = Field(256, ge=1, description="held-out passages used as queries")
    query_file: str | None = Field(None, description="real queries, instead of held-out passages")
    max_depth: int = Field(
        2000, ge=1, description="most documents refined, in a shard, that are considered"
    )

    @model_validator(mode="after")
    def _deep_enough(self) -> Self:
        # pydantic lets errors that are no ValueError through: message and hint stay ours.
        if self.max_depth < self.k:
            raise SettingsError(
                f"audit.max_depth = {self.max_depth} is below audit.k = {self.k}.",
                "A search must refine at least as many documents as recall counts.",
            )
        return self


class GateSettings(SettingsTable):
    """[gate]: how far a version may differ from the one before it."""

    max_deleted: float = Field(
        0.1, ge=0, le=1, description="share of the documents that a run may delete"
    )
    max_change: float = Field(
        0.5, ge=0, description="share by which the number of documents may change"
    )
    max_changed: float = Field(
        0.5, ge=0, description="share of the documents whose content may change"
    )
    max_rejected: float = Field(
        0.1, ge=0, le=1, description="share of the source's rows that may be rejected"
    )
    min_spread: float = Field(
        0.2,
        ge=0,
        le=1,
        description="least spread of new vectors' directions, as a share of the stored ones'",
    )
    reembed: bool = Field(
        False, description="allow another encoder or cut: everything is embedded again"
    )


class CompactSettings(SettingsTable):
    """[compact]: when an index run rewrites what is stored. Nothing is embedded for it.

    `shardrank compact` rewrites whatever lost a passage and folds all that is small.
    """

    max_deleted: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="at night a part with a larger share of deleted passages is rewritten",
    )
    fold: int = Field(
        8,
        ge=2,
        description="this many small parts or shards of like size are folded into one at night",
    )
    max_drift: float = Field(
        0.1, ge=0, description="growth of the codes' error at which the codec is trained again"
    )


class SearchSettings(SettingsTable):
    """[search]: retrieval of a query batch."""

    k: int = Field(100, ge=1, description="documents kept for each query")
    nprobe: int | None = Field(None, ge=1, description="lists probed; default: as audited")
    depth: int | None = Field(
        None,
        ge=1,
        description="documents refined in each shard, by their nearest passages, k at least; "
        "default: as audited",
    )
    block_queries: int = Field(
        4096, ge=1, le=1 << 20, description="queries in one block of the batch"
    )
    ignore_same_id: bool = Field(
        False,
        description="BEIR's rule: a document with the query's own id is passed over, as where "
        "queries are documents (ArguAna, Quora)",
    )
    memory_mb: int = resize(
        1024, "memory of an actor for the queries that it searches at once, and their hits", ge=1
    )


class RetrieverSettings(SettingsTable):
    """[[retriever]]: an index that is searched. Where none is named, every index is, as [search]
    says."""

    index: str = Field("dense", description="the index, by its column's name")
    name: str | None = Field(None, pattern=_NAME, description="default: the index's")
    k: int | None = Field(None, ge=1, description="documents for each query; default: search.k")
    nprobe: int | None = Field(
        None, ge=1, description="lists probed, of vectors; default: search.nprobe"
    )
    depth: int | None = Field(
        None, ge=1, description="documents refined in each shard, of vectors; default: search.depth"
    )
    k1: float = Field(1.5, ge=0, description="of BM25: how soon a word that recurs is enough")
    b: float = Field(0.75, ge=0, le=1, description="of BM25: how much long passages are lowered")
    feedback: int | None = Field(
        None,
        ge=1,
        description="documents of a first round towards which the query is moved for the second: "
        "Rocchio's formula for vectors, RM3's for words and terms; default: one round",
    )
    alpha: float | None = Field(
        None, ge=0, description="of feedback: the query's weight; default: 0.9, of terms 0.5"
    )
    beta: float | None = Field(
        None, ge=0, description="of feedback: the documents' weight; default: 0.1, of terms 0.5"
    )
    feedback_terms: int = Field(
        10, ge=1, description="of feedback: terms of the documents that are added, at most"
    )
    hubness: float | None = Field(
        None,
        gt=0,
        description="of vectors: beta of the inverted softmax, by which passages that are near to "
        "every query of the batch are lowered, such as 20; default: none are",
    )
    gallery: int = Field(
        0, ge=0, description="of hubness: passages in a second bank, drawn from the index"
    )

    @property
    def called(self) -> str:
        """Its name."""
        return self.name or self.index


class RerankerSettings(SettingsTable):
    """[reranker]: the cross-encoder. Several [[reranker]] rerank one after another, each what the
    one before put first."""

    model: str = Field("embedded", description="a folder, a hub name, embedded, or off")
    revision: str | None = Field(None, description="the hub's revision: a branch, tag or commit")
    depth: int = Field(50, ge=1, description="documents of each query that are reranked")
    interpolation: float | None = Field(
        None,
        ge=0,
        le=1,
        description="a in a·logit + (1-a)·retrieval score; default: as the model says, else 1",
    )
    max_tokens: int | None = Field(None, ge=8, description="the longest pair in tokens")
    dtype: Dtype = Field(
        "auto",
        description=f"{_DTYPE}; auto: bf16 where the index's encoder runs in it (for BERT's "
        "family), else as the model's files",
    )
    trust_remote_code: bool = Field(False, description="run code that comes with the model")
    batch_tokens: int | None = resize(
        None, "tokens in one forward pass; default: 1024 on a CPU, 65536 on a GPU", ge=1
    )


#: A table that names a model.
ModelSettings = TypeVar("ModelSettings", EncoderSettings, SparseSettings, RerankerSettings)


class LabelSettings(SettingsTable):
    """[label]: what a student shall learn from a ranked run."""

    teachers: tuple[str, ...] = Field(
        ("reranker",),
        min_length=1,
        description="reranker (the run's own), retrieval (its encoder), or a cross-encoder's name",
    )
    ensemble: Literal["mean", "rrf"] = Field(
        "mean", description="of several teachers: mean of the scores, or reciprocal rank fusion"
    )
    depth: int = Field(50, ge=1, description="documents of each ranking that the teachers score")
    positives: Literal["qrels", "teacher"] = Field(
        "qrels",
        description="what is relevant: by judgement, or also what the teachers put first, unless "
        "it was judged to be less",
    )
    min_grade: int = Field(1, ge=1, description="the least judgement that makes a positive")
    first_rank: int = Field(1, ge=1, description="negatives are mined from this retrieval rank")
    last_rank: int | None = Field(None, ge=1, description="to this one; default: label.depth")
    margin: float | None = Field(
        None, ge=0, description="a negative scores at least so much below its positive"
    )
    ratio: float | None = Field(
        None, gt=0, le=1, description="at most this share of its positive's score, as sigmoids"
    )
    ceiling: float | None = Field(None, description="no negative scores above this")
    near_duplicate: float | None = Field(
        0.9, gt=0, le=1, description="Jaccard of tokens at which a passage is its positive's copy"
    )
    negatives: int = Field(8, ge=1, description="mined negatives for each positive, at most")
    pick: Literal["hardest", "random"] = Field(
        "hardest", description="which of those that pass: highest by the teachers, or any"
    )
    random_negatives: int = Field(0, ge=0, le=64, description="drawn from 1,024 of all passages")
    batch_negatives: int = Field(0, ge=0, le=64, description="drawn from other queries' positives")
    consistency: int | None = Field(
        None, ge=1, description="keep a positive only if the teachers rank it at most here"
    )
    temperature: float = Field(1.0, gt=0, description="of the listwise distribution")
    scale: Literal["logit", "sigmoid"] = Field("logit", description="of pointwise scores")
    curriculum: Literal["none", "reciprocal-rank", "score-gap"] = Field(
        "none", description="adds a column weight, 1 for what is easy, 0 for what is hard"
    )
    text: Literal["inline", "id"] = Field("inline", description="texts, or the ids of passages")
    seed: int = Field(0, ge=0, lt=1 << 63, description="of what is drawn, with the query's id")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.first_rank > min(self.last_rank or self.depth, self.depth):
            raise SettingsError(
                f"label.first_rank = {self.first_rank} lies behind the last rank that is mined: "
                f"last_rank = {self.last_rank}, depth = {self.depth}.",
                "Lower first_rank, or raise last_rank and depth.",
            )
        bounds = {"margin": self.margin, "ratio": self.ratio, "ceiling": self.ceiling}
        given = [name for name, value in bounds.items() if value is not None]
        if self.ensemble == "rrf" and given:
            raise SettingsError(
                f"label.{given[0]} bounds a score, and label.ensemble = rrf gives sums of "
                "reciprocal ranks.",
                "Leave it out, or join the teachers by their mean.",
            )
        return self

    @field_validator("teachers", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """--set label.teachers=reranker,retrieval"""
        return tuple(name.strip() for name in value.split(",")) if isinstance(value, str) else value


class ClusterSettings(SettingsTable):
    """[cluster]: where it runs. Nothing here changes results, but for the last bits in which
    devices differ."""

    executor: Literal["auto", "ray", "inline"] = resize(
        "auto",
        "where units run: on Ray, or inline, in this process; auto: inline where no address is "
        "given and there is little to do: up to 4 MiB of source files, 100,000 stored passages and "
        "16,384 pairs to score",
    )
    address: str | None = resize(None, "a Ray cluster's address; default: a local Ray")
    cpus: int | None = resize(None, "logical CPUs of the local Ray; default: the machine's", ge=1)
    actors: int | None = resize(None, "actors in a model's pool; default: by the resources", ge=1)
    gpu: Literal["auto", "never"] = resize("auto", "whether model actors take a GPU each")
    object_store_mb: int = resize(512, "object store of the local Ray in MB", ge=80)
    retries: int = resize(3, "times a lost worker is replaced before its unit fails", ge=0)


class S3Settings(SettingsTable):
    """[s3]: how s3:// is reached. Credentials come from the AWS environment only."""

    endpoint: str | None = resize(
        None, "the service's URL; default: AWS_ENDPOINT_URL, else Amazon's"
    )
    region: str | None = resize(
        None, "its region; default: that of AWS_DEFAULT_REGION or the profile"
    )
    profile: str | None = resize(
        None, "a profile of ~/.aws; default: AWS_PROFILE, else the default"
    )
    attempts: int = resize(8, "times a request is sent; thrice that where answers break off", ge=1)
    timeout: float = resize(30.0, "seconds without an answer until it is sent again", gt=0)
    connections: int = resize(16, "requests at once from one process", ge=1)
    part_mb: int = resize(64, "files of two such parts or more go up in parts (MiB)", ge=5)


class FusionSettings(SettingsTable):
    """[fusion]: several retrievers' hits become one list."""

    how: Literal["rrf", "scores"] = Field(
        "rrf", description="by reciprocal rank fusion, or by the sum of their normalised scores"
    )
    rank_constant: int = Field(
        60, ge=0, description="c of rrf, the sum of 1 / (c + rank): the larger, the flatter"
    )
    norm: Literal["min-max", "z"] = Field(
        "min-max",
        description="how scores are put on one scale, in each list of a query: from 0 to 1, or by "
        "mean and standard deviation",
    )
    weights: tuple[float, ...] | None = Field(
        None, min_length=1, description="one for each retriever, in order; default: all 1"
    )

    @field_validator("weights", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """--set fusion.weights=1,0.5"""
        return tuple(value.split(",")) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _weigh(self) -> Self:
        # Sums of weighted terms are stored as float32: beyond these bounds they become inf or 0.
        if self.weights and not (min(self.weights) >= 0 and 1e-6 <= max(self.weights) <= 1e6):
            raise SettingsError(
                f"fusion.weights = {list(self.weights)}: none may be negative, and the largest "
                "must lie between 1e-6 and 1e6.",
                "Weights count relative to each other: 2, 1 does what 0.2, 0.1 does.",
            )
        return self


class Settings(SettingsTable):
    """All tables together; one object is made at the command line and handed to every stage."""

    corpus: CorpusSettings = CorpusSettings()
    passages: PassageSettings = PassageSettings()
    encoder: Annotated[tuple[ColumnSettings, ...], BeforeValidator(_several)] = (EncoderSettings(),)
    index: Annotated[tuple[IndexSettings, ...], BeforeValidator(_several)] = ()
    audit: AuditSettings = AuditSettings()
    gate: GateSettings = GateSettings()
    compact: CompactSettings = CompactSettings()
    search: SearchSettings = SearchSettings()
    retriever: Annotated[tuple[RetrieverSettings, ...], BeforeValidator(_several)] = ()
    fusion: FusionSettings = FusionSettings()
    reranker: Annotated[tuple[RerankerSettings, ...], BeforeValidator(_several)] = (
        RerankerSettings(),
    )
    label: LabelSettings = LabelSettings()
    cluster: ClusterSettings = ClusterSettings()
    s3: S3Settings = S3Settings()

    @property
    def dense(self) -> EncoderSettings:
        """The first encoder: passages are cut by its tokens."""
        first = self.encoder[0]
        assert isinstance(first, EncoderSettings)
        return first

    @property
    def rerankers(self) -> tuple[RerankerSettings, ...]:
        """Those that rerank, in their order."""
        return tuple(each for each in self.reranker if each.model != "off")

    @property
    def further(self) -> tuple[ColumnSettings, ...]:
        """The encoders of further columns."""
        return self.encoder[1:]

    def index_of(self, column: str) -> IndexSettings:
        """What is asked of the index over a column."""
        return next((index for index in self.index if index.of == column), IndexSettings(of=column))

    @model_validator(mode="after")
    def _named(self) -> Self:
        first = self.encoder[0] if self.encoder else None
        if not (isinstance(first, EncoderSettings) and first.name == DENSE):
            raise SettingsError(
                f"The first [[encoder]] is not of family dense and called {DENSE}.",
                "Name it first: passages are cut by its tokens. Others follow it.",
            )
        for table, names in (
            ("encoder", [each.name for each in self.encoder]),
            ("index", [each.of for each in self.index]),
            ("retriever", [each.called for each in self.retriever]),
        ):
            if {"retrieved", "reranked"} & set(names):
                raise SettingsError(
                    f"A [[{table}]] is called retrieved or reranked, as metrics are.",
                    "Give it another name.",
                )
            twice = {name for name in names if names.count(name) > 1}
            if twice:
                raise SettingsError(
                    f"Two [[{table}]] tables are called {min(twice)!r}.", "Give each its own name."
                )
        return self
