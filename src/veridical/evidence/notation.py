r"""What readers see of labels, units and other words of users: text, with mathematics between dollars.

Dollars are also money: `$/kg and $/t` holds no mathematics. What lies between two dollars is mathematics only
where the whole text reads so and matplotlib can draw all of it; otherwise every dollar is a dollar. A text
made of several is joined from their `safe` forms, in which dollars that are no mathematics are written `\$`.
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markupsafe import Markup

_DOLLAR = re.compile(r"(?<!\\)\$")
_ADJOINED = re.compile(r"[A-Za-z]{2,}\s+[A-Za-z]{2,}")  # words of a sentence
_SPACED = re.compile(r"[A-Za-z]{2,}\s|\s[A-Za-z]{2,}")
_UNSHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")  # no text file holds them all
_PIECE = re.compile(r"\\[A-Za-z]+|\\.|\s+|.", re.DOTALL)
_UPRIGHT = {"mathrm", "mathregular", "text", "operatorname"}
_IGNORED = {"mathit", "mathbf", "mathsf", "mathcal", "it", "bf", "left", "right", "!"}
_FUNCTIONS = frozenset(re.findall(r"\w+", "arctan cos cosh det exp lim ln log max min sin sinh tan tanh"))
_ACCENTS = dict(
    re.findall(r"(\w+) (\S)", "hat \u0302 bar \u0304 dot \u0307 ddot \u0308 tilde \u0303 vec \u20d7")
)
_SIGNS = """
    times × cdot · pm ± mp ∓ odot ⊙ oplus ⊕ circ ∘ infty ∞ partial ∂ nabla ∇ ell ℓ hbar ℏ leq ≤ le ≤ geq ≥
    ge ≥ neq ≠ approx ≈ sim ∼ propto ∝ to → rightarrow → prime ′ perp ⊥ parallel ∥ star ⋆ ast ∗ langle ⟨
    rangle ⟩ AA Å epsilon ϵ varepsilon ε phi ϕ varphi φ vartheta ϑ
"""
_SYMBOLS = dict(re.findall(r"(\w+) (\S)", _SIGNS))


def is_mathematics(text: str) -> bool:
    """Returns whether a text has pairs of dollars and between them mathematics that can be drawn."""
    parts = _DOLLAR.split(text)
    if len(parts) < 3 or len(parts) % 2 == 0:
        return False
    return not any(map(_is_prose, parts[1::2], parts[2::2])) and _can_be_drawn(text)


def _is_prose(inside: str, behind: str) -> bool:
    """Whether two dollars are money, by what stands between them and behind the second."""
    if not inside or inside != inside.strip() or inside[0] in "/,;:.)]|·" or behind[:1].isdigit():
        return True
    if re.search(r"[\\^_{]", inside):
        return "\\" not in inside and bool(_ADJOINED.search(inside))
    return bool(_SPACED.search(inside))


@lru_cache(4096)
def _can_be_drawn(text: str) -> bool:
    from matplotlib.mathtext import MathTextParser

    parser: Any = MathTextParser("path")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for line in text.split("\n"):  # matplotlib reads each for itself
                parser.parse(line)
    except Exception:  # whatever its parser raises at a text of anyone's, the text is then drawn as it is
        return False
    return all(len(_DOLLAR.findall(line)) % 2 == 0 for line in text.split("\n"))


def writable(text: str) -> str:
    """Returns a text without the characters that an HTML or SVG file cannot hold."""
    return _UNSHOWN.sub("\N{REPLACEMENT CHARACTER}", text)


def safe(text: str) -> str:
    r"""Returns a text with its dollars as `\$` unless they enclose mathematics, to be joined with others."""
    text = writable(text)
    return text if is_mathematics(text) else _DOLLAR.sub(r"\\$", text)


def label(data: Mapping[str, Any], name: str, of: str = "parameters") -> str:
    """Returns what the reader of a figure knows a parameter by, or another of the study's names, safely."""
    return safe(data.get("labels", {}).get(of, {}).get(name, name))


def with_unit(name: str, unit: str) -> str:
    """Returns a safe name with its unit in brackets, where there is one."""
    return f"{name} [{safe(unit)}]" if unit else name


def html(text: object) -> Markup:
    """Returns a text for a page: its mathematics in Unicode, with raised and lowered parts, all else escaped.

    Mathematics that needs more than that, such as fractions, is shown as it is written.
    """
    from markupsafe import Markup, escape

    words = writable(str(text))
    if is_mathematics(words):
        parts = _DOLLAR.split(words)
        found = [_converted(part) for part in parts[1::2]]
        if None not in found:
            parts[::2] = [str(escape(part.replace(r"\$", "$"))) for part in parts[::2]]
            parts[1::2] = [str(part) for part in found]
            return Markup("".join(parts))  # noqa: S704  # each part is escaped
    return escape(words.replace(r"\$", "$"))


def plain(text: object) -> str:
    """Returns a text without raised and lowered parts, for where a page can show none."""
    return html(text).striptags() if "$" in str(text) else str(text)


# ---- mathematics as HTML -------------------------------------------------------------------------------


def _converted(formula: str) -> str | None:
    """A formula as HTML; None where HTML has no way to show it."""
    pieces = (piece for piece in _PIECE.findall(formula) if not piece.isspace())
    try:
        return "".join(_group(pieces, upright=False)).replace("<sup>∘</sup>", "°").replace("</i><i>", "")
    except KeyError:
        return None


def _group(pieces: Iterator[str], *, upright: bool) -> Iterator[str]:
    """The symbols up to the end of a group; those behind a `\\rm` are upright."""
    for piece in pieces:
        if piece == "}":
            return
        if piece == "\\rm":
            upright = True
        else:
            yield _symbol(piece, pieces, upright=upright)


def _symbol(piece: str, pieces: Iterator[str], *, upright: bool) -> str:
    """One symbol or group, with what it takes of the pieces behind it.

    Raises:
        KeyError: If it is none of those that HTML can show.
    """
    from markupsafe import escape

    if piece == "{":
        return "".join(_group(pieces, upright=upright))
    if piece in "^_":
        tag = "sup" if piece == "^" else "sub"
        return f"<{tag}>{_symbol(next(pieces, ''), pieces, upright=upright)}</{tag}>"
    if piece.startswith("\\"):
        return _command(piece[1:], pieces, upright=upright)
    shown = {"-": "\N{MINUS SIGN}", "'": "′", "~": "\N{NO-BREAK SPACE}"}.get(piece, str(escape(piece)))
    return f"<i>{shown}</i>" if piece.isalpha() and not upright else shown


def _command(name: str, pieces: Iterator[str], *, upright: bool) -> str:
    """What stands behind a backslash."""
    if name in _UPRIGHT:
        return _symbol(next(pieces, ""), pieces, upright=True)
    if name in _ACCENTS:
        bare = _symbol(next(pieces, ""), pieces, upright=True)
        return unicodedata.normalize("NFC", bare + _ACCENTS[name])
    if name in _IGNORED:
        return ""
    if name in _FUNCTIONS:
        return name
    if not name.isalpha():
        return "\N{THIN SPACE}" if name in ",:; " else name.replace("&", "&amp;")
    case = "CAPITAL" if name[0].isupper() else "SMALL"
    letter = name.upper().replace("LAMBDA", "LAMDA")  # as Unicode spells it
    return _SYMBOLS.get(name) or unicodedata.lookup(f"GREEK {case} LETTER {letter}")
