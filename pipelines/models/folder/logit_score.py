"""A language model that scores pairs, as sentence-transformers' CrossEncoder saves it: a
Transformer and a LogitScore
(https://sbert.net/docs/package_reference/cross_encoder/modules.html).

The score of a pair is the logit of one token at the input's last place, less that of another one
where there are two; CrossEncoder's activation, a sigmoid by default, comes after it. What follows
is how sentence-transformers 6.2 makes the input (base/modules/transformer.py: preprocess,
_apply_chat_template, _restore_chat_template_suffix); tests/unit/test_logit_score.py holds it
against the library. The prompt is the folder's default prompt, if it has one.

**With messages**, that is, where `modality_config` has "message":

1. The messages are {role: "system", content: prompt}, which is left out where there is no prompt,
   {role: "query", content: the query} and {role: "document", content: the passage}. Where messages
   are "structured", a content is [{"type": "text", "text": content}].
2. The folder's chat template renders them to one string, with the variables of `chat` (of which
   "restore_suffix" is none). There is a generation prompt only if `chat` asks for one.
3. The tokeniser makes ids of the string without special tokens around it; those that are written in
   it, by the template or in a text, count as such.
4. Of an input of `limit` ids or more the first `limit` are kept, `limit` being the tokeniser's
   model_max_length, but no more than the model has positions; then the last n of these are
   overwritten with the template's tail. So what comes before the tail loses its end, be it the
   passage or the query. To find the tail, the same messages are rendered twice, all texts but the
   system's replaced by "0" and then by "1 2 3 4": it is the ids that both end with, and nothing if
   these are all of either. Where `chat` has restore_suffix = false, there is none.

**Without messages** the prompt is put before the query, and the tokeniser takes query and passage
as a pair, special tokens included: no words ask the model anything. A pair that is too long loses
tokens of the longer of its texts, one by one ("longest_first").

Rows of a batch are filled on the left, and scores do not depend on that but for rounding.

A structured text that looks like the address or path of an image, sound or video
("https://a.org/b.png") becomes a part of that type, which a template of texts leaves out: the
library then scores the pair without it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shardrank.core.errors import InputError
from shardrank.models.folder.cross_modules import module_names
from shardrank.models.folder.layout import GENERATES, Layout, read_layout
from shardrank.models.folder.modules import inside, read_entries
from shardrank.models.folder.reading import Keys, read_known
from shardrank.models.folder.sentence_config import (
    read_activation,
    read_reranker_prompt,
    read_reranker_prompts,
)

_LOGIT_SCORE = Keys.of("true_token_id false_token_id", module_input_name=("causal_logits",))
_FORMATS = ("flat", "structured")


@dataclass(frozen=True)
class LogitScore:
    """How a language model's folder scores a pair.

    Attributes:
        layout: of the language model. In its `call`: the tokeniser's arguments, `messages`, `chat`.
        true_token: the id whose logit at the last place is the score.
        false_token: the id whose logit is taken off; none: nothing is.
        prompt: the default prompt; "" where there is none.
        prompts: all by name, the default one among them.
        activation: what the library does to the score, as `read_activation` has it.
    """

    layout: Layout
    true_token: int
    false_token: int | None
    prompt: str
    prompts: Mapping[str, str]
    activation: str

    @property
    def as_messages(self) -> bool:
        """Whether a pair goes through the folder's chat template."""
        return "message" in (self.layout.call.modalities or ())


def read_logit_score(folder: Path) -> LogitScore | None:
    """How a folder that CrossEncoder saved scores pairs by a language model; none where it has no
    modules.json that lists a LogitScore.

    Raises:
        InputError: a file is missing, is no JSON, or says something that is not understood.
    """
    path = folder / "modules.json"
    entries = read_entries(path) if path.is_file() else []
    names = module_names(entries)
    if "LogitScore" not in names:
        return None
    if names != ["Transformer", "LogitScore"]:
        raise InputError(
            f"{path} has the modules {', '.join(names)}; a language model that scores pairs has "
            "Transformer and LogitScore.",
            "Name another model.",
        )
    layout = read_layout(folder / inside(folder, entries[0]["path"]), GENERATES)
    _check_call(layout)
    true, false = _tokens(folder / inside(folder, entries[1]["path"]) / "config.json", layout)
    prompt, activation = read_reranker_prompt(folder), read_activation(folder, layout)
    return LogitScore(layout, true, false, prompt, read_reranker_prompts(folder), activation)


def _check_call(layout: Layout) -> None:
    """The library opens a Transformer that names no task for hidden states, which have no logits;
    and guesses at the form of messages where the folder does not say it."""
    call = layout.call
    formats = _FORMATS if "message" in (call.modalities or ()) else (None,)
    if call.task == GENERATES and call.messages in formats:
        return
    raise InputError(
        f"{layout.transformer} has transformer_task = {call.task!r} and messages of the format "
        f"{call.messages!r} in sentence_bert_config.json; understood are {GENERATES!r} and, where "
        f"there are messages, {' or '.join(map(repr, _FORMATS))}.",
        "Save the model again with sentence-transformers 6.2.",
    )


def _tokens(path: Path, layout: Layout) -> tuple[int, int | None]:
    """The ids of the relevant token and of the other one, which may be none."""
    found = read_known(path, _LOGIT_SCORE)
    most = int(layout.config.get("vocab_size") or 0)

    def token(name: str) -> int:
        value = found.get(name)
        if type(value) is int and 0 <= value < most:
            return value
        raise InputError(
            f"{path} has {name} = {value!r}, no id of a vocabulary of {most:,}.",
            "Name a complete model folder.",
        )

    false = None if found.get("false_token_id") is None else token("false_token_id")
    if false == token("true_token_id"):  # the library takes the unknown token for both, if need be
        raise InputError(
            f"{path} has token {false} for a relevant passage and for another one: every score "
            "would be 0.",
            "Save the model with tokens that its vocabulary has.",
        )
    return token("true_token_id"), false
