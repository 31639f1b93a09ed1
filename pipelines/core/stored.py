"""Settings that belong to an index, taken from its version by whoever works on it later."""

from pipelines.core.errors import SettingsError
from pipelines.core.settings import AuditSettings, EncoderSettings, IndexSettings
from pipelines.core.version import Version

#: Taken from the run and never from the index: who runs it decides about speed, and whether code
#: that came with a stranger's model may run.
_ASKED_ANEW = ("batch_tokens", "trust_remote_code")


def dtype_as_stored(version: Version, wanted: EncoderSettings) -> EncoderSettings:
    """The settings, where dtype = "auto" is what the index has the same model in.

    So that an index stays in one dtype, whatever machines its runs are planned on.
    """
    same = version.encoder["settings"]["model"] == wanted.model
    if wanted.dtype != "auto" or not same:
        return wanted
    return wanted.model_copy(update={"dtype": version.encoder["dtype"]})


def runs_in_bf16(version: Version) -> bool:
    """Whether the index's encoder does, so that rerankers with dtype = "auto" may."""
    return bool(version.encoder["dtype"] == "bf16")


def index_encoder(version: Version, wanted: EncoderSettings) -> EncoderSettings:
    """The index's own encoder settings.

    Settings left at their defaults ask for nothing else; others must agree with the index.

    Raises:
        SettingsError: they do not.
    """
    built = EncoderSettings(**version.encoder["settings"] | {"dtype": version.encoder["dtype"]})
    asked = wanted.model_dump(exclude_defaults=True, exclude=set(_ASKED_ANEW))
    differing = [name for name, value in asked.items() if getattr(built, name) != value]
    if differing:
        pairs = ", ".join(
            f"encoder.{n} is {getattr(built, n)!r} there and {asked[n]!r} here" for n in differing
        )
        raise SettingsError(
            f"The index was built with another encoder: {pairs}.",
            "Leave [encoder] out here, or index again with this model.",
        )
    return built.model_copy(update={name: getattr(wanted, name) for name in _ASKED_ANEW})


def audit_settings(version: Version, wanted: AuditSettings) -> AuditSettings:
    """The [audit] settings that the version was audited with, and what differs from the defaults
    in those that are wanted."""
    asked = wanted.model_dump(exclude_defaults=True)
    return AuditSettings(**{**version.audit_settings, **asked})


def index_settings(version: Version, wanted: IndexSettings) -> IndexSettings:
    """The [index] settings that the version was made from, on the device that is wanted."""
    return IndexSettings(**version.index_settings, device=wanted.device)
