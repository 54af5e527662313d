"""Lists of keywords in plain text: with commas of any script, bullets, numbers, headings and categories."""

from __future__ import annotations

import re
from typing import Final

# A part with more words than this is a sentence, and its commas do not make it a list.
MAX_LISTED_WORDS: Final = 5
MAX_HEADING: Final = 100
# What remains of a text without its first or last sentence must look like a list even more.
MIN_LISTED: Final = 3
MAX_BARE_WORDS: Final = 3
# Japanese and Chinese are written without spaces: about so many characters are a word.
_CHARACTERS_A_WORD: Final = 3
_UNSPACED: Final = re.compile(r"[\u3040-\u309f\u4e00-\u9fff]")
_ENDS: Final = ".。 \t\r\n"
_SENTENCE_ENDS: Final = (".", "!", "?", "。", "！", "？")
_CLOSING: Final = " \t\r\n\"'”»)*_"
# Not within numbers: 1,000. The others are the commas and semicolons of Chinese, Japanese and Arabic.
_SEPARATOR: Final = re.compile(r"(?<!\d),|,(?!\d)|[;、，；،؛|\t\n]|\s[•·]\s")
# Also within Japanese names, so that they separate only where nothing else does.
_WEAK_SEPARATOR: Final = re.compile(r"[・·•]")
_BULLET: Final = re.compile(
    r"""(?x) \A\s* (?:
      [•‣▪●◦○・·\N{EN DASH}—] \s* | \*(?!\*) \s* | -(?=\s|[^\W\d]) \s*
    | \(? \d{1,3} (?: [.)]\s+ | [.)](?=[^\W\d]) | [、．）]\s* )
    )"""
)
_MARKDOWN_HEADING: Final = re.compile(r"\s*(?:#{1,6}\s|\*\*[^*]{1,100}\*\*\s*\Z)")
# The words for keywords, tags and labels in the languages that people ask in.
_HEADING_WORD: Final = re.compile(
    r"""(?ix)
    \bhere\ (?:are|is)\b | key\s?words? | \bhash?tags?\b | \btags?\b | \blabels?\b
    | schl(?:ag|üssel)w[oö]rt | stichw[oö]rt | mots?[ -]cl[ée] | étiquettes | palabras?\ clave | etiquetas
    | parole\ chiave | etichette | palavras?-chave | trefwoord | sleutelwoord | nyckelord | n[øo]g?[gk]elord
    | słowa\ kluczowe | klíčová\ slova | cuvinte\ cheie | avainsan | kulcssz | anahtar\ kelime | etiket
    | ключев | ключов | теги | λέξεις | الكلمات | كلمات | מילות\ מפתח | תגיות | कीवर्ड | từ\ khóa | kata\ kunci
    | キーワード | タグ | 关键[词字] | 關鍵[詞字] | 标签 | 標籤 | 키워드 | 태그 | คำสำคัญ | คีย์เวิร์ด
    """
)
_LABEL: Final = re.compile(r"\A\s*[*_]{0,3}[^,;:：、，]{1,40}?[*_]{0,3}[:：][*_]{0,3}(?=\s|\Z)")


def listed_words(text: str) -> list[str]:
    """The words of a list, none where the text is not one."""
    text = text.strip()
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    if text[:1] in {"[", "{"} or re.search(r"[{}]|\[\s*[\"']|[\"']\s*\]", text):
        return []  # JSON that cannot be read
    lines = _list_lines([line for line in text.splitlines() if line.strip()])
    words = split_words("\n".join(lines))
    is_list = len(words) > 1 and all(_word_count(word) <= MAX_LISTED_WORDS for word in words)
    is_prose = text.endswith("。") and any(len(_UNSPACED.findall(word)) > 9 for word in words)
    return words if is_list and not is_prose else []


def split_words(text: str) -> list[str]:
    """The words in a text with separators, without bullets and full stops."""
    if re.fullmatch(r"\s*(?:#[^\s#]+\s+)+#[^\s#]+\s*", text):
        return text.split()
    separator = _SEPARATOR if _SEPARATOR.search(text) else _WEAK_SEPARATOR
    lines = (_without_bullet(line) for line in text.split("\n"))
    parts = (_without_bullet(part).rstrip(_ENDS) for line in lines for part in separator.split(line))
    return [word for word in map(str.strip, parts) if word]


def is_sentence(text: str) -> bool:
    """Whether a text is a sentence: by its full stop, or by its length."""
    words = _word_count(text)
    return words > 2 * MAX_LISTED_WORDS or (words >= 4 and _ends_sentence(text))


def _ends_sentence(text: str) -> bool:
    return text.rstrip(_CLOSING).endswith(_SENTENCE_ENDS)


def _without_bullet(text: str) -> str:
    return _BULLET.sub("", text)


def _word_count(text: str) -> int:
    return max(len(text.split()), 1) + len(_UNSPACED.findall(text)) // _CHARACTERS_A_WORD


def _list_lines(lines: list[str]) -> list[str]:
    """The lines of the list itself: without headings, category labels and sentences around it."""
    bulleted = [line for line in lines if _BULLET.match(line)]
    if len(bulleted) > 1:
        lines = [line for line in bulleted if not line.rstrip(" *_").endswith((":", "："))]
    else:
        lines = _without_sentences(_without_heading(lines))
    labels = [_LABEL.match(_without_bullet(line)) for line in lines]
    if len(lines) > 1 and all(labels):
        return [_LABEL.sub("", _without_bullet(line), count=1) for line in lines]
    return lines


def _without_heading(lines: list[str]) -> list[str]:
    if not lines:
        return lines
    first, *others = lines
    if others and _MARKDOWN_HEADING.match(first):
        return _without_heading(others)
    head, colon, rest = re.sub("：", ":", first[: 2 * MAX_HEADING], count=1).partition(":")
    rest += first[2 * MAX_HEADING :]
    if not colon or len(head) > MAX_HEADING or re.search(r"[.!?。]\s", head):
        return lines
    rest = rest.strip(" \t*_")
    if not rest:
        return others
    return [rest, *others] if _HEADING_WORD.search(head) else lines


def _without_sentences(lines: list[str]) -> list[str]:
    """The lines without one sentence before and one after them, where what remains is clearly a list."""
    rest = lines[1:] if lines and is_sentence(lines[0]) else lines
    rest = rest[:-1] if len(rest) > 1 and is_sentence(rest[-1]) else rest
    if len(rest) == len(lines):
        return lines
    words = split_words("\n".join(rest))
    is_clear = len(words) >= MIN_LISTED and all(_word_count(word) <= MAX_BARE_WORDS for word in words)
    return rest if is_clear and not _ends_sentence(rest[-1]) else lines
