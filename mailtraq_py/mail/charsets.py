"""
Charsets of mail: octets and a charset's name to text, without ever raising.

Only names from Python's own table of aliases are looked up: the codec search would otherwise import by a stranger's
word and remember every wrong name. Codecs that are no charsets, and those whose cost is not linear, are left out.

RFC 2045 5, RFC 2978
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from encodings.aliases import aliases
from functools import lru_cache

_NO_CHARSETS = frozenset(
    (
        "base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec", "idna",
        "punycode", "raw_unicode_escape", "unicode_escape", "undefined", "mbcs", "oem",
    )
)  # fmt: skip

# Names in use for which Python has none, or a narrower one than senders mean.
_AS_SENT = {
    "ascii": "cp1252",
    "latin_1": "cp1252",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "x_sjis": "cp932",
    "tis_620": "cp874",
    "windows_874": "cp874",
    "iso_8859_8_i": "iso8859_8",
    "iso_8859_8_e": "iso8859_8",
    "iso_8859_6_i": "iso8859_6",
    "x_mac_roman": "mac_roman",
    "x_mac_cyrillic": "mac_cyrillic",
    "x_gbk": "gb18030",
    "x_euc_jp": "euc_jp",
    "unicode_1_1_utf_7": "utf_7",
    "utf8mb4": "utf_8",
}
_KNOWN = (frozenset(aliases.values()) | {"koi8_u", "koi8_t", "cp874", "cp1125", "big5hkscs"}) - _NO_CHARSETS

Decoder = Callable[[bytes], str]


@lru_cache(maxsize=256)
def decoder(charset: str) -> Decoder | None:
    """The function that decodes a charset, never raising; None for a charset that nobody here knows."""
    name = "_".join(charset.strip().lower().replace("-", " ").replace(":", " ").split())
    if name in ("utf_8", "utf8", "us_ascii", "ascii", "unknown_8bit", "default"):
        return decode_unlabelled
    name = _AS_SENT.get(name, name)
    name = aliases.get(name, name)
    name = _AS_SENT.get(name, name)
    if name not in _KNOWN:
        return None
    try:
        decode = codecs.lookup(name).decode
    except LookupError:
        return None

    def replacing(octets: bytes) -> str:
        return decode(octets, "replace")[0]

    return replacing


def decode_unlabelled(octets: bytes) -> str:
    """Text whose charset nobody named: UTF-8 if it is that, else Windows-1252 with holes."""
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("cp1252", "replace")
