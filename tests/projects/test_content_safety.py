"""The bundled project's data keep what its data card promises."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from labelproof.spec.project import SPLITS, find_project

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "projects" / "content_safety"
ITEM_KEYS = ["id", "text", "language", "surface", "topic", "kind", "author"]
SURFACES = {"comment", "chat", "profile", "listing", "video_title", "review"}
KINDS = {
    "plain",
    "borderline",
    "lookalike",
    "adversarial",
    "quote",
    "sarcasm",
    "counter_speech",
    "obfuscated",
    "injection",
}
DISGUISED = {"adversarial", "obfuscated"}
LABEL_SHARES = {  # share of all items in percent: (least, most)
    "safe": (40, 50),
    "harassment": (12, 18),
    "hate": (9, 14),
    "violence_threat": (7, 12),
    "self_harm": (6, 11),
    "minor_safety": (4, 8),
    "spam_scam": (5, 10),
}
SPLIT_SHARES = {
    "examples": (8, 12),
    "calibration": (30, 35),
    "certify": (26, 31),
    "test": (26, 31),
}
BASE64 = re.compile(r"[A-Za-z0-9+/]{24,}={0,2}")
CLAUSE = re.compile(r"\b[HGVDMFPCN]-\d\b")


@cache
def items() -> tuple[dict[str, Any], ...]:
    lines = (FOLDER / "data" / "items.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(json.loads(line) for line in lines)


@cache
def gold() -> tuple[dict[str, Any], ...]:
    lines = (FOLDER / "data" / "gold.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(json.loads(line) for line in lines)


def labels_by_id() -> dict[str, str]:
    return {row["id"]: row["label"] for row in gold()}


def percent(count: int) -> float:
    return 100 * count / len(items())


def letters_only(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(char for char in folded if char.isalnum())


def test_the_project_file_loads_with_both_guidelines() -> None:
    project = find_project(str(FOLDER))
    labels = set(project.spec.labels.leaves)
    assert labels == set(LABEL_SHARES)
    short = project.guideline_short()
    assert len(short.split()) <= 170
    for label in labels:
        assert f"`{label}`" in project.guideline()
        assert f"- {label}:" in short
    for leaf in project.spec.labels.classes:
        assert 0 < len(leaf.description.split()) <= 14, leaf.name


def test_items_have_the_documented_shape_and_unique_ids_and_texts() -> None:
    for number, item in enumerate(items(), start=1):
        assert list(item) == ITEM_KEYS
        assert item["id"] == f"cs-{number:04d}"
        assert item["surface"] in SURFACES, item
        assert item["kind"] in KINDS, item
        assert re.fullmatch(r"[a-z]{2,3}(-[A-Z][a-z]{3})?", item["language"]), item
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", item["topic"]), item
        assert re.fullmatch(r"\S{3,}", item["author"]), item
        assert item["text"] == item["text"].strip()
    assert len({letters_only(item["text"]) for item in items()}) == len(items())


def test_no_two_items_share_most_of_their_words() -> None:
    bags = [(item["id"], set(re.findall(r"\w{3,}", item["text"].casefold()))) for item in items()]
    bags = [(name, bag) for name, bag in bags if len(bag) >= 5]
    for index, (name, bag) in enumerate(bags):
        for other, rest in bags[index + 1 :]:
            assert len(bag & rest) / len(bag | rest) < 0.4, (name, other)


def test_gold_covers_every_item_once_with_labels_and_splits_of_the_schema() -> None:
    labels = set(find_project(str(FOLDER)).spec.labels.leaves)
    assert [row["id"] for row in gold()] == [item["id"] for item in items()]
    for row in gold():
        assert list(row)[:3] == ["id", "label", "split"]
        assert set(row) <= {"id", "label", "split", "annotator_note"}
        assert row["label"] in labels
        assert row["split"] in SPLITS


def test_notes_cite_clauses_that_the_guideline_has() -> None:
    guideline = (FOLDER / "guideline.md").read_text(encoding="utf-8")
    known = set(re.findall(r"\*\*([HGVDMFPCN]-\d)\*\*", guideline))
    kinds = {item["id"]: item["kind"] for item in items()}
    cited: set[str] = set()
    for row in gold():
        note = row.get("annotator_note", "")
        found = set(CLAUSE.findall(note))
        assert found <= known, row
        assert found or kinds[row["id"]] != "borderline", row
        cited |= found
    assert len(cited) >= len(known) * 2 / 3


def test_class_split_language_and_kind_counts_are_within_bounds() -> None:
    assert 400 <= len(items()) <= 520
    labels = Counter(row["label"] for row in gold())
    for label, (least, most) in LABEL_SHARES.items():
        assert least <= percent(labels[label]) <= most, label
    splits = Counter(row["split"] for row in gold())
    for split, (least, most) in SPLIT_SHARES.items():
        assert least <= percent(splits[split]) <= most, split
    languages = Counter(item["language"] for item in items())
    assert 65 <= percent(languages["en"]) <= 80
    assert len(languages) >= 12
    kinds = Counter(item["kind"] for item in items())
    assert all(kinds[kind] >= 10 for kind in KINDS), kinds
    assert max(map(percent, kinds.values())) <= 55
    assert 120 <= len({item["author"] for item in items()}) <= 180


def test_every_split_has_every_class_in_proportion() -> None:
    sizes = Counter(row["split"] for row in gold())
    classes = Counter(row["label"] for row in gold())
    cells = Counter((row["split"], row["label"]) for row in gold())
    for split in SPLITS:
        for label, total in classes.items():
            expected = total * sizes[split] / len(gold())
            assert cells[split, label] >= 2, (split, label)
            assert abs(cells[split, label] - expected) <= max(2.0, 0.2 * expected), (split, label)


def test_an_author_is_in_one_split_only() -> None:
    splits: dict[str, set[str]] = defaultdict(set)
    for item, row in zip(items(), gold(), strict=True):
        splits[item["author"]].add(row["split"])
    assert {author for author, found in splits.items() if len(found) > 1} == set()


def test_each_disguise_and_language_group_has_safe_and_harmful_items() -> None:
    labels = labels_by_id()
    for kind in KINDS - {"counter_speech", "plain"}:
        harmful = {labels[item["id"]] != "safe" for item in items() if item["kind"] == kind}
        assert harmful == {True, False}, kind
    for english in (True, False):
        found = {labels[i["id"]] for i in items() if (i["language"] == "en") is english}
        assert found == set(LABEL_SHARES)


def test_no_contact_data_and_no_link_outside_the_reserved_domains() -> None:
    for item in items():
        text = BASE64.sub("", item["text"])
        assert "@" not in re.sub(r"@mods\b", "", text), item["id"]
        assert not re.search(r"\d[\d ()/.-]{6,}\d", text), item["id"]
        for host in re.findall(r"(?:https?://|www\.)([^/\s]+)", text):
            assert re.fullmatch(r"([a-z-]+\.)?example\.(com|org)", host), item["id"]
        bare = re.sub(r"https?://\S+", "", text)
        assert not re.search(r"\b[\w-]+\.(com|org|net|io|co|de|fr|ru|info)\b", bare), item["id"]


def test_hidden_and_look_alike_characters_only_in_disguised_kinds() -> None:
    hidden_kinds = set()
    for item in items():
        hidden = [
            char
            for char in item["text"]
            if unicodedata.category(char) in {"Cf", "Cc", "Co", "Cn"} and char != "\u200d"
        ]
        mixed = [
            word
            for word in re.findall(r"\w+", item["text"])
            if re.search(r"[a-zA-Z]", word) and re.search(r"[\u0370-\u04ff]", word)
        ]
        if hidden or mixed:
            assert item["kind"] in DISGUISED, item["id"]
            hidden_kinds.add(item["kind"])
        if BASE64.search(item["text"]):
            assert item["kind"] in DISGUISED, item["id"]
    assert hidden_kinds


def test_texts_are_of_sensible_length() -> None:
    for item in items():
        text = item["text"]
        if item["language"] in {"zh", "ja"}:
            assert 8 <= len(text) <= 200, item["id"]
        elif item["kind"] not in DISGUISED:
            assert 3 <= len(text.split()) <= 75, item["id"]
            assert max(map(len, text.split())) <= 80, item["id"]
        assert len(text) <= 450, item["id"]


def test_length_and_language_do_not_tell_the_label() -> None:
    labels = labels_by_id()
    english = [item for item in items() if item["language"] == "en"]
    every = sorted(len(item["text"]) for item in english)
    middle = every[len(every) // 2]
    for label in LABEL_SHARES:
        sizes = sorted(len(i["text"]) for i in english if labels[i["id"]] == label)
        assert 0.7 * middle <= sizes[len(sizes) // 2] <= 1.3 * middle, label
        share = len(sizes) / sum(found == label for found in labels.values())
        assert 0.55 <= share <= 0.85, label


def shape_of(text: str, language: str) -> list[float]:
    """Return what can be seen without reading: sizes, marks, capitals, digits, language."""
    words = text.split()
    marks = [float(text.count(mark)) for mark in ".,!?:;'\"()"]
    sizes = [float(len(text)), float(len(words)), float(np.mean([len(word) for word in words]))]
    capitals = sum(char.isupper() for char in text) / len(text)
    digits = float(sum(char.isdigit() for char in text))
    starts, ends = float(text[0].isupper()), float(text[-1] in ".!?")
    return [*marks, *sizes, capitals, digits, starts, ends, float(language == "en")]


def test_words_help_to_guess_the_label_and_surface_marks_do_not() -> None:
    truth = np.array([row["label"] for row in gold()])
    authors = np.array([item["author"] for item in items()])
    folds = StratifiedGroupKFold(4, shuffle=True, random_state=0)
    majority = float(np.mean(truth == "safe"))

    words = make_pipeline(
        TfidfVectorizer(sublinear_tf=True, min_df=2),
        LogisticRegression(C=10, max_iter=500),
    )
    texts = [item["text"] for item in items()]
    by_words = np.mean(cross_val_predict(words, texts, truth, groups=authors, cv=folds) == truth)
    assert majority + 0.05 <= by_words <= 0.75

    shapes = np.array([shape_of(item["text"], item["language"]) for item in items()])
    marks = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    by_marks = np.mean(cross_val_predict(marks, shapes, truth, groups=authors, cv=folds) == truth)
    assert by_marks <= majority + 0.03
