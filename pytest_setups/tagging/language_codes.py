"""The languages that a setup can be asked for, by their ISO 639-1 codes."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final

from pytest_setups.registry.entry import Stage

if TYPE_CHECKING:
    from collections.abc import Iterable

# fmt: off
LANGUAGES: Final = {
    "af": "Afrikaans", "ar": "Arabic", "az": "Azerbaijani", "be": "Belarusian", "bg": "Bulgarian",
    "bn": "Bengali", "bs": "Bosnian", "ca": "Catalan", "cs": "Czech", "cy": "Welsh", "da": "Danish",
    "de": "German", "el": "Greek", "en": "English", "eo": "Esperanto", "es": "Spanish", "et": "Estonian",
    "eu": "Basque", "fa": "Persian", "fi": "Finnish", "fr": "French", "ga": "Irish", "gu": "Gujarati",
    "he": "Hebrew", "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian", "hy": "Armenian", "id": "Indonesian",
    "is": "Icelandic", "it": "Italian", "ja": "Japanese", "ka": "Georgian", "kk": "Kazakh", "ko": "Korean",
    "la": "Latin", "lt": "Lithuanian", "lv": "Latvian", "mi": "Maori", "mk": "Macedonian", "mn": "Mongolian",
    "mr": "Marathi", "ms": "Malay", "nb": "Norwegian Bokmål", "nl": "Dutch", "nn": "Norwegian Nynorsk",
    "no": "Norwegian", "pa": "Punjabi", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian",
    "sk": "Slovak", "sl": "Slovene", "so": "Somali", "sq": "Albanian", "sr": "Serbian", "sv": "Swedish",
    "sw": "Swahili", "ta": "Tamil", "te": "Telugu", "th": "Thai", "tl": "Tagalog", "tr": "Turkish",
    "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese", "xh": "Xhosa", "yo": "Yoruba", "zh": "Chinese",
    "zu": "Zulu",
}
# fmt: on
"""English names by code; the names are also what prompts say."""

Languages = dict[Stage, str]
"""The code of the language that each stage is asked for; a stage without one is not in it."""


def check_language(text: str) -> str:
    """The code that a user typed.

    Raises:
        ValueError: it is not a known code; the message names the code that was probably meant.
    """
    if text in LANGUAGES:
        return text
    meant = _meant(text)
    hint = f"; {LANGUAGES[meant]} is {meant}" if meant else ""
    message = (
        f"{text!r} is not the ISO 639-1 code of a known language{hint}; known are {', '.join(LANGUAGES)}"
    )
    raise ValueError(message)


def _meant(text: str) -> str | None:
    lowered = text.strip().lower()
    for code in (lowered, lowered.replace("_", "-").partition("-")[0]):
        if code in LANGUAGES:
            return code
    codes = {name.lower(): code for code, name in LANGUAGES.items()}
    similar = difflib.get_close_matches(lowered, codes, n=1)
    if similar:
        return codes[similar[0]]
    # Three-letter codes begin as the English name or the two-letter code does: "ger", "deu".
    return next(
        (code for name, code in codes.items() if len(lowered) == 3 and name.startswith(lowered)), None
    )


def parse_languages(items: Iterable[str]) -> Languages:
    """The languages of the stages: a code is for all of them, ``keywords=de`` for one and stronger.

    Raises:
        ValueError: an unknown code or stage, or a stage that is given two languages.
    """
    general: list[str] = []
    special: Languages = {}
    for item in filter(str.strip, items):  # an empty one stands for none, over that of an ini file
        before, separator, code = item.strip().rpartition("=")
        if not separator:
            general.append(check_language(code))
            continue
        stage = _stage(before)
        if stage in special:
            message = f"{stage} is given two languages: leave one of them out"
            raise ValueError(message)
        special[stage] = check_language(code)
    if len(set(general)) > 1:
        message = (
            f"{general[0]} and {general[1]} are both for all stages: "
            f"type {general[0]} and, for one stage, such as keywords={general[1]}"
        )
        raise ValueError(message)
    languages = dict.fromkeys(Stage, general[0]) if general else {}
    return languages | special


def _stage(name: str) -> Stage:
    try:
        return Stage(name.strip())
    except ValueError:
        message = (
            f"{name!r} is not a stage: type {', '.join(f'{stage}=CODE' for stage in Stage)}, or only CODE"
        )
        raise ValueError(message) from None
