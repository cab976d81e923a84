"""Whether texts have changed: distance of a day's texts from the reference's in hashed n-grams, and what moved.

A classifier trained on the days so far could not be tested on them: days differ without a fault, and it learns that.
The distance needs no training, and each day of the reference is compared with the others, as a new day is with all.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from evaluation._arrays import BoolArray, FloatArray, IntArray
from evaluation._drift_evidence import DayScores
from evaluation.intervals import Estimate, undefined
from labelproof.spec.errors import ConfigError

DIM = 2048
_LONGEST = 600
"""Characters of a text that are looked at."""
_CHUNK = 2000
_WORD = re.compile(r"([^\W\d_]{2,30})[^\W\d_]*")
"""A word; of a long one its first 30 letters."""
_DIGITS = re.compile(r"\d")
UNKNOWN = "unknown"

_FREQUENT = {
    "en": "the and you that this with for are not have was what your they from will just about",
    "es": "que los las una por con para como más pero está muy porque todo también cuando hay ese esta",
    "de": "der die das und ist nicht ein eine mit auch auf für sich dass aber wir ich wenn noch",
    "fr": "les des est pas que une pour dans vous qui sur avec mais nous ce il je c'est très",
    "pt": "que não uma para com os mais como mas você por ele isso foi muito também são está das",
    "it": "che non una per con sono gli della questo anche come più ma nel ho è alla ti cosa",
    "nl": "het een van dat niet zijn met voor ook maar wat aan naar heb dit door nog bij ik",
    "tr": "bir bu ve için çok ama ne daha ile gibi değil var ben kadar olan sen mi da",
    "pl": "nie się jest że na do to jak ale co tak za już przez czy tylko jego mnie",
    "id": "yang dan di itu dengan untuk tidak ini dari dalam akan pada juga saya ke karena ada",
}
_LANGUAGES_OF: dict[str, list[str]] = {}
for _language, _listed in _FREQUENT.items():
    for _one in _listed.split():
        _LANGUAGES_OF.setdefault(_one, []).append(_language)
_SCRIPTS = {
    "CYRILLIC": "cyrillic script",
    "ARABIC": "arabic script",
    "HEBREW": "hebrew script",
    "GREEK": "greek script",
    "DEVANAGARI": "devanagari script",
    "THAI": "thai script",
    "HANGUL": "ko",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "CJK": "chinese characters",
}


def text_features(texts: Sequence[str]) -> sparse.csr_matrix:
    """Rows of length 1 (n, ``DIM``): which runs of 3 and of 5 characters a text has, hashed; zeros for a shorter one.

    Lower case, white space as one blank, every digit as 0 (dates and numbers change every day), the first 600
    characters. 5 characters stand for words.
    """
    if not texts:
        return sparse.csr_matrix(np.zeros((0, DIM), dtype=np.float32))
    place = {text: i for i, text in enumerate(dict.fromkeys(texts))}  # the same text may come many times
    own = list(place)
    parts = [_features(own[start : start + _CHUNK]) for start in range(0, len(own), _CHUNK)]
    found = sparse.csr_matrix(sparse.vstack(parts))
    return found if len(own) == len(texts) else sparse.csr_matrix(found[[place[text] for text in texts]])


def _features(texts: Sequence[str]) -> sparse.csr_matrix:
    clean = [f" {_DIGITS.sub('0', ' '.join(text[:_LONGEST].lower().split()))} " for text in texts]
    codes = [np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32) for text in clean]
    text_of = np.repeat(np.arange(len(codes)), [len(each) for each in codes])
    code = np.concatenate(codes).astype(np.uint64)
    found, half = [], DIM // 2
    for place, width in enumerate((3, 5)):
        n = max(len(code) - width + 1, 0)
        mixed = np.zeros(n, dtype=np.uint64)
        for step in range(width):
            mixed = (mixed ^ code[step : step + n]) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(29)
        inside = text_of[:n] == text_of[width - 1 : width - 1 + n]
        bucket = (mixed >> np.uint64(40)).astype(np.int64) % half
        pair = np.sort(text_of[:n][inside] * half + bucket[inside])  # np.unique hashes: five times slower
        pair = pair[np.concatenate([[True], pair[1:] != pair[:-1]])] if len(pair) else pair
        row = pair // half
        length = np.sqrt(2.0 * np.bincount(row, minlength=len(codes)))[row]
        found.append((row, pair % half + place * half, 1 / length))
    row, column, value = (np.concatenate(each) for each in zip(*found, strict=True))
    return sparse.csr_matrix((value.astype(np.float32), (row, column)), shape=(len(codes), DIM))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TextScorer:
    """One event: a day's texts are farther from the reference's than its days are from each other.

    ``means`` (D, dim) of the texts' vectors a batch, ``n`` (D,) texts. The score is the cube root (Wilson & Hilferty
    1931: near normal) of the squared distance of means, as if each batch had the usual number of texts.
    """

    means: FloatArray
    n: FloatArray

    def __post_init__(self) -> None:
        if self.means.ndim != 2 or self.n.shape != (len(self.means),):
            raise ConfigError(f"means: expected (batches, dim) and n (batches,), found {self.means.shape}")

    def __call__(self, reference: IntArray) -> DayScores:
        gram = self.means @ self.means.T
        own = np.diagonal(gram)
        noise = np.maximum(1 - own, 0.0) / np.maximum(self.n - 1, 1.0)
        inside = np.zeros(len(self.n))
        inside[reference] = 1.0
        others = inside.sum() - inside
        to_reference = gram @ inside - inside * own
        within = inside @ gram @ inside - inside * (2 * gram @ inside - own)
        of_reference = (noise @ inside - inside * noise) / others**2
        squared = own - 2 * to_reference / others + within / others**2
        usual = float(np.median(noise[reference]))
        # Without what sampling of texts adds on both sides, then with what it adds to a usual day.
        days = (squared - noise - of_reference) / (1 + 1 / others) + usual
        x = np.cbrt(np.maximum(days, 0.05 * usual))
        return DayScores(x=x[:, None], v=np.zeros((len(x), 1)), names=("texts",), upward=True)


def day_means(features: sparse.csr_matrix, batch: IntArray, n_batches: int) -> tuple[FloatArray, FloatArray]:
    """Mean vectors (D, dim) and numbers of texts (D,) from features (n, dim) and each text's batch (n,)."""
    n = np.bincount(batch, minlength=n_batches).astype(np.float64)
    member = sparse.csr_matrix(
        (np.ones(len(batch), dtype=np.float32), (batch, np.arange(len(batch)))),
        shape=(n_batches, len(batch)),
    )
    sums = np.asarray((member @ features).todense(), dtype=np.float64)
    return sums / np.maximum(n, 1.0)[:, None], n


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TextShift:
    """How well texts of after can be told from those of before. ``lean`` (n,): how far each text leans to after."""

    auc: Estimate
    lean: FloatArray


def text_shift(
    features: sparse.csr_matrix, after: BoolArray, batch: IntArray, *, seed: int, resamples: int = 200
) -> TextShift:
    """Return the area under the ROC curve of telling after from before: .5 nothing, 1 every single text.

    Texts are scored along the difference of means of the other half of the days, drawn by ``seed`` (of the texts,
    when after is a single day); the interval is a percentile bootstrap over batches and, within them, texts.
    """
    method = "cross-fitted mean difference, bootstrap over days"
    n = len(after)
    rng = np.random.default_rng(seed)
    sides = [np.unique(batch[~after]), np.unique(batch[after])]
    if min(map(len, sides)) < 2:
        half = rng.permutation(n) % 2 == 0
    else:
        chosen = np.zeros(int(batch.max()) + 1, dtype=np.bool_)
        for days in sides:
            chosen[rng.permutation(days)[: len(days) // 2]] = True
        half = chosen[batch]
    lean = np.zeros(n)
    for fitted in (half, ~half):
        first, second = fitted & ~after, fitted & after
        if not first.any() or not second.any() or not (~fitted & after).any():
            return TextShift(auc=undefined(method, n, "too few texts on one of the two sides"), lean=lean)
        towards = features[second].mean(axis=0) - features[first].mean(axis=0)
        lean[~fitted] = np.asarray(features[~fitted] @ np.asarray(towards).ravel()).ravel()
    order = np.argsort(lean, kind="stable")
    ranked, positive, ranked_batch = lean[order], after[order], batch[order]
    starts = np.concatenate([[0], np.flatnonzero(np.diff(ranked)) + 1])
    ties = None if len(starts) == n else starts
    value = _auc(positive, np.ones(n), ties)
    drawn = np.empty(resamples)
    for r in range(resamples):
        weight = np.zeros(int(batch.max()) + 1)
        for days in sides:
            if len(days) == 1:
                weight[days] += 1
            else:
                np.add.at(weight, rng.choice(days, len(days)), 1.0)
        drawn[r] = _auc(positive, weight[ranked_batch] * rng.poisson(1.0, n), ties)
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    found = Estimate(
        value=value, low=float(min(low, value)), high=float(max(high, value)), n=n, method=method
    )
    return TextShift(auc=found, lean=lean)


def _auc(positive: BoolArray, weight: FloatArray, ties: IntArray | None) -> float:
    """Weighted AUC of texts in rising order of their scores; equal ones, which begin at ``ties``, count half."""
    up, down = np.where(positive, weight, 0.0), np.where(positive, 0.0, weight)
    total = up.sum() * down.sum()
    if not total:
        return float("nan")
    ups, downs = (up, down) if ties is None else (np.add.reduceat(up, ties), np.add.reduceat(down, ties))
    below = np.cumsum(downs) - downs
    return float((ups * (below + 0.5 * downs)).sum() / total)


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedWord:
    """A word with the share of texts that have it, before and after."""

    word: str
    before: float
    after: float


def moved_words(before: Sequence[str], after: Sequence[str], *, most: int = 8) -> tuple[MovedWord, ...]:
    """Return the words whose share of texts moved most, against chance: the largest two-proportion z first."""
    seen = [_texts_with(texts) for texts in (before, after)]
    n, m = len(before), len(after)
    if not n or not m:
        return ()
    found = []
    for word in seen[0].keys() | seen[1].keys():
        x, y = seen[0].get(word, 0), seen[1].get(word, 0)
        pooled = (x + y + 1) / (n + m + 2)
        z = abs(y / m - x / n) / math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
        if z >= 3 and x + y >= 5:
            found.append((-z, word, x / n, y / m))
    return tuple(MovedWord(word=word, before=x, after=y) for _, word, x, y in sorted(found)[:most])


def _texts_with(texts: Sequence[str]) -> dict[str, int]:
    """How many texts have each word; a text that comes many times is read once."""
    found: dict[str, int] = defaultdict(int)
    for text, times in Counter(texts).items():
        for word in _words(text):
            found[word] += times
    return dict(found)


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text[:_LONGEST].lower()))


def guess_language(text: str) -> str:
    """Return a language code from frequent words, or a script's name; `unknown` when neither says anything.

    For shares over a day, not for single texts: short texts are often unknown.
    """
    beginning = text[:400]
    foreign = [char for char in beginning if ord(char) > 0x36F and char.isalpha()]
    if len(foreign) * 2 > sum(map(str.isalpha, beginning)):
        scripts = Counter(unicodedata.name(char, "").partition(" ")[0] for char in foreign)
        if scripts["HIRAGANA"] + scripts["KATAKANA"]:
            return "ja"
        return _SCRIPTS.get(scripts.most_common(1)[0][0], UNKNOWN)
    hits: Counter[str] = Counter()
    for word in re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?", beginning.lower()):
        for language in _LANGUAGES_OF.get(word, ()):
            hits[language] += 1
    ranked = hits.most_common(2)
    if not ranked or (len(ranked) == 2 and ranked[0][1] == ranked[1][1]):
        return UNKNOWN
    return ranked[0][0]


def as_batches(values: npt.ArrayLike) -> IntArray:
    """Batch positions of texts as int64."""
    return np.asarray(values, dtype=np.int64)
