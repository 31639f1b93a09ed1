"""Make a folder of the static table l2_supercat_256 from wordllama.

python -m infra.weights.wordllama [--out FOLDER]
"""

from __future__ import annotations

from infra.weights import folders
from infra.weights.wheels import Wheel, read_members

NAME = "wordllama"
SHA256 = {
    "model.safetensors": "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5",
    "tokenizer.json": "93248f2a9ec36c7b35f700a033d5f36228aae48db61aee31007fa49062cdeb68",
}

WHEEL = Wheel(
    "wordllama==0.4.0.post1",
    "42c2c88907ace0b0681ac6f9092d6a300a6409a5d2d61071a3fb5e7159370c97",
    tags=("--python-version", "3.11", "--platform", "manylinux2014_x86_64"),
)
TABLE = "wordllama/weights/l2_supercat_256.safetensors"
TOKENISER = "wordllama/tokenizers/l2_supercat_tokenizer_config.json"
LICENCE = "wordllama-0.4.0.post1.dist-info/licenses/LICENSE"

_CLASSES = "sentence_transformers.models"
MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": f"{_CLASSES}.StaticEmbedding"},
    {"idx": 1, "name": "1", "path": "1_Normalize", "type": f"{_CLASSES}.Normalize"},
]
SENTENCES = {"prompts": {"query": "", "document": ""}, "similarity_fn_name": "cosine"}

NOTICE = """\
The table l2_supercat_256 and its tokeniser are from the package wordllama by Lee Miller, under the
MIT licence (see LICENSE). It was trained from the token vectors of language models that share the
vocabulary of Llama 2, that model's among them: https://github.com/dleemiller/WordLlama.
"""

README = """\
# wordllama, l2_supercat_256

A static encoder: 32,000 token vectors of 256 components, of which the first 128 or 64 serve too,
from the package `wordllama==0.4.0.post1` of PyPI (MIT: see LICENSE and NOTICE).

`infra/weights/wordllama.py` of shardrank made this folder. The table and the tokeniser are the
package's, byte for byte; the files beside them say so to sentence-transformers.
"""


def convert() -> folders.Files:
    """The files of the folder."""
    members = read_members(WHEEL, [TABLE, TOKENISER, LICENCE])
    return {
        "model.safetensors": members[TABLE],
        "tokenizer.json": members[TOKENISER],
        "modules.json": folders.as_json(MODULES),
        "config_sentence_transformers.json": folders.as_json(SENTENCES),
        "LICENSE": members[LICENCE],
        "NOTICE": NOTICE.encode(),
        "README.md": README.encode(),
    }


if __name__ == "__main__":
    folders.run(NAME, SHA256, convert, __doc__)
