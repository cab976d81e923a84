"""What items are about, as far as their words tell: clusters of texts, named by the words that set them apart."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation._arrays import IntArray
from evaluation._threads import one_blas_thread

_WORDS_NAMED = 3
_LONGEST_WORD = 24
_FEATURES = 4000
_WORD = r"(?u)\b[^\W\d_]{3,24}\b"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TextClusters:
    """``codes`` (n,) into ``names``; a name is the cluster's number and its words, which come from the texts."""

    codes: IntArray
    names: tuple[str, ...]


@one_blas_thread
def cluster_texts(texts: Sequence[str], *, k: int | None = None, seed: int = 0) -> TextClusters | None:
    """Return clusters of texts by their words: TF-IDF, then mini-batch k-means (Sculley 2010), seeded.

    ``k`` default: a cluster for 40 texts, 2 to 12. None when there are fewer than 40 texts, or no word occurs in two.
    """
    n = len(texts)
    wanted = min(12, max(2, n // 40)) if k is None else k
    if n < 2 * 20 or n < wanted:
        return None
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(
        sublinear_tf=True,
        min_df=2,
        max_df=0.5,
        max_features=_FEATURES,
        token_pattern=_WORD,
    )
    try:
        features = words.fit_transform([text[:4000] for text in texts])
    except ValueError:  # "no terms remain": numbers only, or no word twice
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer distinct texts than clusters: some stay empty
        model = MiniBatchKMeans(n_clusters=wanted, random_state=seed, n_init=3, batch_size=1024).fit(features)
    kinds, codes = np.unique(model.labels_, return_inverse=True)
    if len(kinds) < 2:
        return None
    mean = np.asarray(features.mean(axis=0)).ravel()
    vocabulary = words.get_feature_names_out()
    names = []
    for place, kind in enumerate(kinds.tolist()):
        apart = np.asarray(features[codes == place].mean(axis=0)).ravel() - mean
        best = [str(vocabulary[i])[:_LONGEST_WORD] for i in np.argsort(-apart, kind="stable")[:_WORDS_NAMED]]
        names.append(f"{kind + 1}: {', '.join(best)}")
    return TextClusters(codes=codes.astype(np.int64), names=tuple(names))
