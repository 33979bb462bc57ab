"""
MD5 that can be taken up from a state in the middle, which `hashlib` cannot.

CRAM-MD5 proves knowledge of a password by HMAC-MD5. The first block of each of HMAC's two digests depends on
the password alone, so keeping the two states behind that block is enough to check an answer, and the password
itself need not be kept:

    inner = compress(start, password xor ipad)      outer = compress(start, password xor opad)
    HMAC  = finish(outer, 64, finish(inner, 64, challenge))

A state is the four words of RFC 1321 3.3 as 16 octets, little endian. Nothing here is for speed: a check digests
three blocks.

RFC 1321, RFC 2104 2, 4, RFC 2195 2
"""

from __future__ import annotations

import hashlib
import math
import struct

BLOCK_OCTETS = 64
STATE_OCTETS = 16

START = struct.pack("<4I", 0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)

_WORD = 0xFFFFFFFF
# RFC 1321 3.4: "the integer part of 4294967296 times abs(sin(i)), where i is in radians".
_SINES = tuple(int(abs(math.sin(number + 1)) * 2**32) & _WORD for number in range(64))
_TURNS = ((7, 12, 17, 22), (5, 9, 14, 20), (4, 11, 16, 23), (6, 10, 15, 21))
_WORD_STEPS = ((1, 0), (5, 1), (3, 5), (7, 0))


def compress(state: bytes, block: bytes) -> bytes:
    """
    Take one block of 64 octets into a state.

    RFC 1321 3.4
    """
    a, b, c, d = start = struct.unpack("<4I", state)
    words = struct.unpack("<16I", block)
    for number, sine in enumerate(_SINES):
        phase, place = divmod(number, 16)
        if phase == 0:
            mixed = (b & c) | (~b & d)
        elif phase == 1:
            mixed = (b & d) | (c & ~d)
        elif phase == 2:
            mixed = b ^ c ^ d
        else:
            mixed = c ^ (b | (~d & _WORD))
        factor, offset = _WORD_STEPS[phase]
        total = (a + mixed + words[(factor * place + offset) % 16] + sine) & _WORD
        turn = _TURNS[phase][place % 4]
        turned = (total << turn | total >> (32 - turn)) & _WORD
        a, b, c, d = d, (b + turned) & _WORD, b, c
    return struct.pack("<4I", *((old + new) & _WORD for old, new in zip(start, (a, b, c, d), strict=True)))


def finish(state: bytes, octets_before: int, rest: bytes) -> bytes:
    """
    End a digest.

    Args:
        state: what the octets before led to; `START` when there are none.
        octets_before: how many they were, a multiple of 64.
        rest: all further octets, any number.

    Returns:
        the digest, 16 octets.

    RFC 1321 3.1, 3.2
    """
    bits = (octets_before + len(rest)) * 8
    padding = b"\x80" + bytes((55 - len(rest)) % BLOCK_OCTETS)
    padded = rest + padding + struct.pack("<Q", bits & 0xFFFFFFFFFFFFFFFF)
    for place in range(0, len(padded), BLOCK_OCTETS):
        state = compress(state, padded[place : place + BLOCK_OCTETS])
    return state


def md5_block_states(password: bytes) -> tuple[bytes, bytes]:
    """
    Give HMAC-MD5's states behind the block that holds the key.

    Returns:
        (inner, outer), 16 octets each. They are as good as the password for CRAM-MD5, and for nothing else.

    RFC 2104 2, RFC 2195 2
    """
    if len(password) > BLOCK_OCTETS:
        password = hashlib.md5(password, usedforsecurity=False).digest()
    key = password.ljust(BLOCK_OCTETS, b"\0")
    inner = compress(START, bytes(octet ^ 0x36 for octet in key))
    outer = compress(START, bytes(octet ^ 0x5C for octet in key))
    return inner, outer


def resumed_hmac(inner: bytes, outer: bytes, message: bytes) -> bytes:
    """
    HMAC-MD5 of a message from the two states of `md5_block_states`, 16 octets.

    RFC 2104 4
    """
    return finish(outer, BLOCK_OCTETS, finish(inner, BLOCK_OCTETS, message))
