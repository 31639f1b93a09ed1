"""Every setting, its default and its meaning. One frozen object a table of the TOML.

Fields marked `resize` do not change results (pool and batch sizes): they stay out of every
fingerprint, so that resizing a cluster never throws work away.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    field_validator,
    model_validator,
)

from shardrank.core.errors import SettingsError
from shardrank.core.evaluate_settings import EvaluateSettings
from shardrank.core.event_settings import EventSettings, LogSettings
from shardrank.core.index_settings import (
    AuditSettings,
    BackfillSettings,
    CompactSettings,
    GateSettings,
    IndexSettings,
)
from shardrank.core.model_settings import DENSE, ColumnSettings, EncoderSettings
from shardrank.core.passage_settings import PassageSettings
from shardrank.core.rank_settings import FusionSettings, RetrieverSettings, SearchSettings
from shardrank.core.reranker_settings import AnyReranker, CrossSettings, RerankerSettings
from shardrank.core.settings_base import SettingsTable, resize, several
from shardrank.core.writer_settings import QueryWriterSettings


class CorpusSettings(SettingsTable):
    """[corpus]: how the source files of documents and queries are read."""

    id: str = Field("_id", description="column of the document's or query's id")
    title: str = Field("title", description="column of the title; it may be absent")
    text: str = Field("text", description="column of the text")
    image: str | None = Field(
        None,
        description="binary column of Parquet files that holds pictures, or Hugging Face's struct "
        "of bytes and path, of which only bytes are read; texts may then be absent",
    )
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
    max_image_bytes: int = Field(
        16 << 20, ge=1, description="a picture over this many bytes is rejected"
    )
    max_image_pixels: int = Field(
        1 << 26,
        ge=1,
        le=89_478_485,
        description="a picture whose header declares more pixels is rejected, undecoded",
    )
    max_id_bytes: int = Field(512, ge=1, description="an id over this many bytes is rejected")
    slice_bytes: int = Field(
        64 << 20, ge=1, description="source bytes in one unit of reading, where files can be cut"
    )


class LabelSettings(SettingsTable):
    """[label]: what a student shall learn from a ranked run."""

    teachers: tuple[str, ...] = Field(
        ("reranker",),
        min_length=1,
        description="reranker (the run's last), retrieval (its encoder), the model of one of the "
        "[[reranker]] or the column that it is of, or another cross-encoder's name",
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
        "where units run: on Ray, or inline, in this process; auto: inline where no cluster is "
        "joined and there is little to do (up to 4 MiB of source files, 100,000 stored passages "
        "and 16,384 pairs to score) or little to do it with (two CPUs and no GPU)",
    )
    address: str | None = resize(
        None,
        "a Ray cluster's head, HOST:PORT, or auto for this machine's; default: RAY_ADDRESS, as in "
        "a job, else a local Ray, which local asks for in any case",
    )
    cpus: int | None = resize(None, "logical CPUs of the local Ray; default: the machine's", ge=1)
    max_cpus: int | None = resize(
        None,
        "logical CPUs that a joined cluster may grow to, by its autoscaler or as its nodes come "
        "up: pools begin with what there is and grow; default: what it has",
        ge=1,
    )
    max_gpus: int | None = resize(None, "GPUs, likewise", ge=1)
    actors: int | None = resize(None, "actors in a model's pool; default: by the resources", ge=1)
    gpu: Literal["auto", "never"] = resize("auto", "whether model actors take a GPU each")
    object_store_mb: int = resize(512, "object store of the local Ray in MB", ge=80)
    retries: int = resize(3, "times a lost worker is replaced before its unit fails", ge=0)


#: Tables of how and where a run runs: nothing in them says what was made, but secrets may.
_NOT_OF_RESULTS = ("cluster", "s3", "events", "log")


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

    @field_validator("endpoint")
    @classmethod
    def _has_no_user(cls, value: str | None) -> str | None:
        """Settings are kept in command lines, records and reports."""
        if value is not None and "@" in value:
            raise SettingsError(
                "s3.endpoint holds a user or a password.",
                "Give HTTP(S)://HOST:PORT alone: credentials come from the AWS environment.",
            )
        return value


class Settings(SettingsTable):
    """All tables together; one object is made at the command line and handed to every stage."""

    corpus: CorpusSettings = CorpusSettings()
    passages: PassageSettings = PassageSettings()
    encoder: Annotated[tuple[ColumnSettings, ...], BeforeValidator(several)] = (EncoderSettings(),)
    index: Annotated[tuple[IndexSettings, ...], BeforeValidator(several)] = ()
    audit: AuditSettings = AuditSettings()
    gate: GateSettings = GateSettings()
    backfill: BackfillSettings = BackfillSettings()
    compact: CompactSettings = CompactSettings()
    search: SearchSettings = SearchSettings()
    retriever: Annotated[tuple[RetrieverSettings, ...], BeforeValidator(several)] = ()
    writer: QueryWriterSettings = QueryWriterSettings()
    fusion: FusionSettings = FusionSettings()
    reranker: Annotated[tuple[AnyReranker, ...], BeforeValidator(several)] = (CrossSettings(),)
    evaluate: EvaluateSettings = EvaluateSettings()
    label: LabelSettings = LabelSettings()
    cluster: ClusterSettings = ClusterSettings()
    s3: S3Settings = S3Settings()
    events: EventSettings = EventSettings()
    log: LogSettings = LogSettings()

    @property
    def dense(self) -> EncoderSettings:
        """The first encoder: passages are cut by its tokens."""
        first = self.encoder[0]
        assert isinstance(first, EncoderSettings)
        return first

    @property
    def rerankers(self) -> tuple[RerankerSettings, ...]:
        """Those that rerank, in their order."""
        return tuple(each for each in self.reranker if not each.off)

    @property
    def further(self) -> tuple[ColumnSettings, ...]:
        """The encoders of further columns."""
        return self.encoder[1:]

    def index_of(self, column: str) -> IndexSettings:
        """What is asked of the index over a column."""
        return next((index for index in self.index if index.of == column), IndexSettings(of=column))

    def given(self) -> dict[str, Any]:
        """What was set on purpose of what decides results, as JSON by table; of several tables of a
        kind all."""
        others = set(_NOT_OF_RESULTS)
        tables = self.model_dump(mode="json", exclude_unset=True, exclude=others)
        return {
            name: table
            for name, table in tables.items()
            if (any(table) if isinstance(table, list) else table)
        }

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
