"""Text encoders: the floor everywhere, MiniLM where its files are (or with LABELPROOF_E2E=1)."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import encoder as encoders
from agents.encoder import TfidfEncoder, open_encoder
from agents.models.download import installed
from agents.models.weights import ENCODER_MODEL, ENCODER_TOKENIZER, known
from labelproof.spec.errors import ConfigError

TEXTS = [
    "I will hurt you tomorrow",
    "i will hurt y0u tomorrow!!",
    "Lovely weather for a picnic",
]


@pytest.fixture(scope="module")
def minilm() -> encoders.Encoder:
    here = all(installed(known(name).artifact) for name in (ENCODER_MODEL, ENCODER_TOKENIZER))
    if not here and os.environ.get("LABELPROOF_E2E") != "1":
        pytest.skip("encoder files are not in the cache; set LABELPROOF_E2E=1 to fetch them")
    return open_encoder("minilm", threads=1)


def test_tfidf_sees_spelling() -> None:
    vectors = TfidfEncoder().encode(TEXTS)
    assert vectors.shape == (3, 1024)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    assert vectors[0] @ vectors[1] > 0.5 > vectors[0] @ vectors[2] + 0.2


def test_tfidf_fold_keeps_similarities() -> None:
    encoder = TfidfEncoder()
    features = encoder.features(TEXTS)
    exact = np.asarray((features @ features.T).todense())
    vectors = encoder.encode(TEXTS)
    assert vectors @ vectors.T == pytest.approx(exact, abs=0.12)


@given(st.lists(st.text(max_size=40), max_size=6))
@settings(max_examples=25, deadline=None)
def test_tfidf_vector_depends_on_its_text_alone(texts: list[str]) -> None:
    encoder = TfidfEncoder(dim=64)
    together = encoder.encode(texts)
    assert together.shape == (len(texts), 64)
    assert np.isfinite(together).all()
    for row, text in enumerate(texts):
        alone = encoder.encode([text])[0]
        assert together[row] == pytest.approx(alone, abs=1e-6)
        length = float(np.linalg.norm(alone))
        assert length == pytest.approx(1.0, abs=1e-5) or length == 0.0


def test_tfidf_fit_changes_the_fingerprint_and_damps_common_words() -> None:
    plain = TfidfEncoder()
    common = [f"please label this {word}" for word in ("cat", "dog", "fish", "bird")]
    fitted = plain.fit(common)
    assert plain.fingerprint == TfidfEncoder().fingerprint
    assert fitted.fingerprint != plain.fingerprint
    assert fitted.fingerprint == plain.fit(common).fingerprint
    first, second = "please label this cat", "please label this dog"
    before, after = plain.encode([first, second]), fitted.encode([first, second])
    assert after[0] @ after[1] < before[0] @ before[1]


def test_unreachable_minilm_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(artifact: object) -> None:
        raise ConfigError("all-minilm-l6-v2-int8 could not be fetched; tried: ...")

    monkeypatch.setattr(encoders, "ensure", unreachable)
    with pytest.raises(ConfigError, match="encoder: tfidf"):
        open_encoder("minilm")


def test_those_who_open_the_same_files_at_once_share_one_encoder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each labelling session opened MiniLM anew: half a second, and as much memory again."""
    file = tmp_path / "weights"
    file.write_bytes(b"first")
    loaded: list[int | None] = []

    class Slow:
        def __init__(self, _model: Path, _tokenizer: Path, *, threads: int | None) -> None:
            loaded.append(threads)
            sleep(0.05)  # long enough for the other threads to ask as well

    monkeypatch.setattr(encoders, "ensure", lambda _: file)
    monkeypatch.setattr(encoders, "MiniLMEncoder", Slow)
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: open_encoder("minilm"), range(8)))
    assert len(found) == 1
    assert loaded == [None]
    assert open_encoder("minilm", threads=1) not in found
    file.write_bytes(b"other weights in their place")
    assert open_encoder("minilm") not in found
    assert loaded == [None, 1, None]


def test_threads_that_share_minilm_get_their_own_vectors(minilm: encoders.Encoder) -> None:
    texts = [[f"{text} {turn}" for text in TEXTS] for turn in range(12)]
    alone = [minilm.encode(each) for each in texts]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(minilm.encode, texts))
    for one, other in zip(alone, together, strict=True):
        assert other == pytest.approx(one, abs=1e-6)


def test_minilm_reproduces_the_published_similarities(minilm: encoders.Encoder) -> None:
    """Similarities of the sentence-transformers quickstart for all-MiniLM-L6-v2, full precision."""
    vectors = minilm.encode(
        ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    )
    published = np.array([[1.0, 0.6660, 0.1046], [0.6660, 1.0, 0.1411], [0.1046, 0.1411, 1.0]])
    assert vectors @ vectors.T == pytest.approx(published, abs=0.01)


def test_minilm_order_lengths_and_odd_texts(minilm: encoders.Encoder) -> None:
    texts = ["short", "long " * 400, "", "\ud800 lone surrogate", "emoji 😀", *TEXTS]
    vectors = minilm.encode(texts)
    assert vectors.shape == (len(texts), 384)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(texts)), abs=1e-5)
    for row in (0, 4, 7):
        assert vectors[row] == pytest.approx(minilm.encode([texts[row]])[0], abs=1e-4)
    assert minilm.encode([]).shape == (0, 384)
    assert minilm.fingerprint.startswith("b2:")


def test_minilm_sees_meaning(minilm: encoders.Encoder) -> None:
    vectors = minilm.encode(["I'm going to kill you", "You are a dead man", "Bread recipe, 500 g flour"])
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2
