"""The tokenizers of BEiT-3 and VLMo: official ids, awkward texts, vocabularies learned here."""

import json
from pathlib import Path

import pytest
import torch
from transformers import BertTokenizer

from lmm4rec.encoders.unified.sentencepiece_tokens import (
    FALLBACK_TEXT,
    SentencePieceTokenizer,
    train_sentencepiece,
)
from lmm4rec.encoders.unified.wordpiece_tokens import SPECIAL, WordPieceTokenizer, train_wordpiece
from lmm4rec.errors import InputError
from tests.encoders.unified_encoders import AWKWARD, TEXTS, spm, wordpiece

GOLDEN = Path(__file__).parents[2] / "golden"


def official() -> SentencePieceTokenizer:
    return SentencePieceTokenizer.from_file(GOLDEN / "tiny_spm.model", max_tokens=16)


def test_sentencepiece_gives_the_official_ids_and_padding():
    golden = json.loads((GOLDEN / "beit3_text.json").read_text())
    tokenizer = official()
    assert tokenizer.size == golden["vocab_size"]
    batch = tokenizer([case["text"] for case in golden["cases"]])
    for row, case in enumerate(golden["cases"]):
        assert tokenizer.piece_ids(case["text"]) == case["piece_ids"]
        assert batch["tokens"][row].tolist() == case["tokens"]
        assert batch["padding_mask"][row].int().tolist() == case["padding_mask"]


@pytest.mark.parametrize("make", [official, spm, wordpiece])
def test_awkward_texts_become_whole_rows(make):
    tokenizer = make()
    ids, mask = tokenizer(AWKWARD).values()
    assert ids.shape == mask.shape == (len(AWKWARD), 16) and ids.dtype == torch.int64
    assert ids.min() >= 0 and ids.max() < tokenizer.size
    long = AWKWARD.index("word " * 10_000)
    assert len(set(ids[long].tolist())) >= 3 and len(set(mask[long].tolist())) == 1
    assert [tensor.shape for tensor in tokenizer([]).values()] == [(0, 16), (0, 16)]


def test_text_without_pieces_is_read_as_the_fallback():
    tokenizer = official()
    for text in ("", "   "):
        assert tokenizer.piece_ids(text) == tokenizer.piece_ids(FALLBACK_TEXT) != []


def test_texts_are_cut_by_tokens_and_keep_their_end_token():
    long = "cotton blanket " * 50
    assert official()([long])["tokens"][0, [0, -1]].tolist() == [0, 2]
    tokenizer = wordpiece()
    ids = tokenizer(["red lamp " * 50])["tokens"][0].tolist()
    names = [tokenizer.vocabulary[index] for index in ids]
    assert names == ["[CLS]", *["red", "lamp"] * 7, "[SEP]"]


def test_special_names_in_a_text_are_ordinary_text():
    ids = wordpiece()(["[SEP] [PAD] [MASK]"])["tokens"][0].tolist()
    named = {wordpiece().vocabulary.index(name) for name in ("[SEP]", "[MASK]")}
    assert ids.count(wordpiece().vocabulary.index("[SEP]")) == 1 and ids[-1] in named
    pieces = official().piece_ids("<s> </s> <pad>")
    assert not {0, 1, 2} & set(pieces)


def test_wordpiece_equals_berts(tmp_path):
    words = ["the", "soft", "cotton", "##s", "cafe", "!", ",", "日", "un", "##aff", "##able", "x"]
    vocabulary = WordPieceTokenizer([*SPECIAL, *words], max_tokens=12)
    vocabulary.save(tmp_path)
    bert = BertTokenizer(vocab=str(tmp_path / "vocab.txt"))
    texts = [
        "The SOFT cottons, café!", "unaffable 日本 x", "un aff", "", "  x\t\nx  ", "x" * 101,
        "the " * 40, "soft\u200b\ufffdcotton", "naïve Ünaffable",
    ]  # fmt: skip
    expected = bert(texts, padding="max_length", truncation=True, max_length=12)
    found = WordPieceTokenizer.from_file(tmp_path / "vocab.txt", 12)(texts)
    assert found["tokens"].tolist() == expected["input_ids"]
    assert found["attention_mask"].tolist() == expected["attention_mask"]


def test_words_are_lower_cased_and_continuations_known():
    tokenizer = wordpiece()
    ids = tokenizer(["RED zebra"])["tokens"][0]
    names = [tokenizer.vocabulary[index] for index in ids.tolist()]
    assert names[:2] == ["[CLS]", "red"]
    assert tokenizer.continuations[ids].tolist() == [name.startswith("##") for name in names]


def test_vocabularies_learned_twice_are_the_same_bytes(tmp_path):
    for number in ("1", "2"):
        (tmp_path / number).mkdir()
        train_sentencepiece(TEXTS, 120, 16).save(tmp_path / number)
        train_wordpiece(TEXTS, 120, 16).save(tmp_path / number)
    for name in ("tokenizer.spm", "vocab.txt"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_a_learned_vocabulary_spells_what_it_has_seen():
    sizes = spm().size, wordpiece().size
    assert max(sizes) <= 120
    assert wordpiece()(["a yellow stroller"])["attention_mask"].sum() == 5
    unknown = wordpiece().vocabulary.index("[UNK]")
    assert unknown not in wordpiece()(["lampred gray7"])["tokens"]
    assert 3 not in spm()(["a yellow stroller"])["tokens"]


def test_vocabularies_that_cannot_be_learned_are_refused():
    with pytest.raises(InputError, match="does not hold the"):
        train_wordpiece(TEXTS, 20, 16)
    with pytest.raises(InputError, match="no sentencepiece vocabulary"):
        train_sentencepiece([], 100, 16)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("the\nsoft\n", r"vocab\.txt: lacks \[PAD\]"),
        ("\n".join([*SPECIAL, "x", "x"]), r"vocab\.txt: names a piece twice"),
    ],
)
def test_a_file_that_is_no_vocabulary_is_refused(tmp_path, content, sentence):
    (tmp_path / "vocab.txt").write_text(content)
    with pytest.raises(InputError, match=sentence):
        WordPieceTokenizer.from_file(tmp_path / "vocab.txt", 12)


@pytest.mark.parametrize("read", [SentencePieceTokenizer.from_file, WordPieceTokenizer.from_file])
def test_a_damaged_or_absent_tokenizer_file_is_refused(tmp_path, read):
    (tmp_path / "file").write_bytes(b"\xff\xfe not a model")
    with pytest.raises(InputError, match=r"file: (not a sentencepiece model|cannot be read as)"):
        read(tmp_path / "file", 12)
    with pytest.raises(InputError, match="absent: cannot be read"):
        read(tmp_path / "absent", 12)
