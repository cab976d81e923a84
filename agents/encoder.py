"""Text encoders: a text becomes a unit vector, so that nearness is a dot product.

``minilm`` is all-MiniLM-L6-v2 (meaning; 23 MB, fetched once); ``tfidf`` is hashed character and
word n-grams (spelling; nothing to fetch, the floor everything else must beat).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from scipy import sparse

from agents.models.download import ensure
from agents.models.weights import ENCODER_MODEL, ENCODER_TOKENIZER, known
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import digest

Vectors = npt.NDArray[np.float32]
EncoderName = Literal["minilm", "tfidf"]

MAX_TOKENS = 256
_BATCH = 32
_HASHED = 2**18
_TFIDF_DIM = 1024
_WORD = r"(?u)\b\w+\b"


class Encoder(Protocol):
    """Texts to vectors. ``fingerprint`` changes whenever any text's vector would."""

    name: str
    fingerprint: str
    dim: int

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return float32 (n texts, dim), rows of length 1 (0 for a text without features)."""
        ...


def open_encoder(name: EncoderName, *, threads: int | None = None) -> Encoder:
    """Return the encoder ``name``; ``minilm`` is fetched on first use.

    Loading it takes half a second and memory, so everybody in a process who asks for the same files and threads is
    given the same one; encoders may be used from several threads at once.
    ``ConfigError`` when it cannot be had, with ``tfidf`` as the way out.
    """
    if name == "tfidf":
        return TfidfEncoder()
    if name != "minilm":
        raise ConfigError(f"expected encoder minilm or tfidf, found {name!r}", key="encoder")
    try:
        model = ensure(known(ENCODER_MODEL).artifact)
        tokenizer = ensure(known(ENCODER_TOKENIZER).artifact)
    except ConfigError as error:
        raise ConfigError(
            error.message,
            key="encoder",
            hint="set `encoder: tfidf`, which needs no file, or connect and run `labelproof model pull`",
        ) from error
    with _opening:  # so that two sessions that begin at once do not both load it
        return _minilm(_stamped(model), _stamped(tokenizer), threads)


_opening = Lock()


@lru_cache(maxsize=2)
def _minilm(
    model: tuple[Path, int, int], tokenizer: tuple[Path, int, int], threads: int | None
) -> MiniLMEncoder:
    return MiniLMEncoder(model[0], tokenizer[0], threads=threads)


def _stamped(path: Path) -> tuple[Path, int, int]:
    """Return a file with what tells it from another that takes its place."""
    found = path.stat()
    return path, found.st_mtime_ns, found.st_size


class MiniLMEncoder:
    """all-MiniLM-L6-v2 with 8-bit weights: mean of the token vectors, scaled to length 1.

    Texts are cut at 256 tokens, as the model was trained; similar lengths share a batch.
    """

    name = "minilm"
    dim = 384

    def __init__(self, model: Path, tokenizer: Path, *, threads: int | None = None) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        self._session: Any = onnxruntime.InferenceSession(
            str(model), sess_options=options, providers=["CPUExecutionProvider"]
        )
        self._inputs = {entry.name for entry in self._session.get_inputs()}
        self._tokenizer: Any = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.enable_truncation(max_length=MAX_TOKENS)
        self._tokenizer.no_padding()
        self.fingerprint = digest(
            {
                "encoder": self.name,
                "model": known(ENCODER_MODEL).artifact.sha256,
                "tokenizer": known(ENCODER_TOKENIZER).artifact.sha256,
                "max_tokens": MAX_TOKENS,
            }
        )

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return float32 (n, 384), rows of length 1, in the order of ``texts``."""
        out = np.zeros((len(texts), self.dim), dtype=np.float32)
        tokens = [np.asarray(each.ids, dtype=np.int64) for each in self._tokens(texts)]
        order = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            out[rows] = self._batch([tokens[row] for row in rows])
        return out

    def _tokens(self, texts: Sequence[str]) -> list[Any]:
        # A lone surrogate cannot cross into the tokenizer; every other text can.
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        encoded: list[Any] = self._tokenizer.encode_batch_fast(clean)
        return encoded

    def _batch(self, tokens: Sequence[npt.NDArray[np.int64]]) -> Vectors:
        width = max(len(each) for each in tokens)
        ids = np.zeros((len(tokens), width), dtype=np.int64)
        mask = np.zeros((len(tokens), width), dtype=np.int64)
        for row, each in enumerate(tokens):
            ids[row, : len(each)] = each
            mask[row, : len(each)] = 1
        feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        wanted = {name: value for name, value in feeds.items() if name in self._inputs}
        hidden = self._session.run(None, wanted)[0]
        weights = mask[:, :, None].astype(np.float32)
        mean = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
        return _unit(mean)


class TfidfEncoder:
    """Hashed TF-IDF of character 2-5-grams (inside words) and word 1-2-grams.

    Without ``fit`` every n-gram weighs the same, so vectors depend on nothing but the text.
    ``fit`` returns another encoder whose weights come from the given texts. Term counts are
    damped (1 + log tf); the two views weigh the same.
    """

    name = "tfidf"

    def __init__(self, *, dim: int = _TFIDF_DIM, idf: Vectors | None = None) -> None:
        self.dim = dim
        self._idf = idf
        self.fingerprint = digest(
            {
                "encoder": self.name,
                "dim": dim,
                "hashed": _HASHED,
                "char_wb": [2, 5],
                "word": [1, 2],
                "idf": None if idf is None else np.round(idf, 5).astype(float).tolist(),
            }
        )

    def fit(self, texts: Sequence[str]) -> TfidfEncoder:
        """Return an encoder with smoothed inverse document frequencies of ``texts``."""
        counts = self._counts(texts)
        seen = np.bincount(counts.indices, minlength=counts.shape[1])
        idf = np.log((1.0 + len(texts)) / (1.0 + seen)) + 1.0
        return TfidfEncoder(dim=self.dim, idf=np.round(idf, 5).astype(np.float32))

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return float32 (n, dim), rows of length 1; zeros for a text without any n-gram."""
        folded: Vectors = np.asarray((self.features(texts) @ _fold(self.dim)).todense(), dtype=np.float32)
        return _unit(folded)

    def features(self, texts: Sequence[str]) -> sparse.csr_matrix:
        """Return the unfolded sparse float32 features (n, 2**19), rows of length 1."""
        counts = self._counts(texts)
        counts.data = (1.0 + np.log(counts.data)).astype(np.float32)
        if self._idf is not None:
            counts = counts @ sparse.diags(self._idf, format="csr")
        half = counts.shape[1] // 2
        views = [_unit_rows(counts[:, :half]), _unit_rows(counts[:, half:])]
        return _unit_rows(sparse.hstack(views, format="csr"))

    def _counts(self, texts: Sequence[str]) -> sparse.csr_matrix:
        from sklearn.feature_extraction.text import HashingVectorizer

        if not texts:
            return sparse.csr_matrix(np.zeros((0, 2 * _HASHED), dtype=np.float32))
        shared = {"n_features": _HASHED, "norm": None, "alternate_sign": False, "dtype": np.float32}
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        chars = HashingVectorizer(analyzer="char_wb", ngram_range=(2, 5), **shared)
        words = HashingVectorizer(analyzer="word", ngram_range=(1, 2), token_pattern=_WORD, **shared)
        views = [chars.transform(clean), words.transform(clean)]
        return sparse.csr_matrix(sparse.hstack(views, format="csr"))


@lru_cache(maxsize=4)
def _fold(dim: int) -> sparse.csr_matrix:
    """Return the signed fold (2**19, dim): each feature goes to one of dim places with a sign of its own.

    It keeps dot products unbiased (feature hashing, Weinberger et al. 2009, eq. 2). Made once: a single text would
    cost 30 ms otherwise.
    """
    column = np.arange(2 * _HASHED, dtype=np.uint64)
    mixed = (column * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20)
    place = (mixed % np.uint64(dim)).astype(np.int64)
    sign = np.where((mixed >> np.uint64(40)) & np.uint64(1), -1.0, 1.0).astype(np.float32)
    return sparse.csr_matrix((sign, (np.arange(len(column)), place)), shape=(len(column), dim))


def _unit(vectors: npt.NDArray[Any]) -> Vectors:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Vectors = (vectors / np.where(length > 0, length, 1.0)).astype(np.float32)
    return scaled


def _unit_rows(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1))).ravel()
    scale = 1.0 / np.where(length > 0, length, 1.0)
    return sparse.csr_matrix(sparse.diags(scale, format="csr") @ matrix, dtype=np.float32)
