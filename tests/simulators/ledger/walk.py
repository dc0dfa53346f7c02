"""Walks a whole chain, byte by byte, and says what on it could lead to a person.

Everything a reader of the ledger gets is looked at: headers, the calls of all transactions, and
the events. What is personal is given by the test, which knows the hospitals' secrets.
"""

import hashlib
import itertools
import json
import re
from collections import defaultdict
from dataclasses import dataclass

from eth_hash.auto import keccak

TEXT = re.compile(rb"[\w .,:@-]{20,}|[\x20-\x7e]{28,}", re.ASCII)
"""What people write, and longer what can be printed: shorter runs come about in random bytes."""
PADDED = re.compile(rb"([\x20-\x7e]{4,28})\0{4,}")
HASHES = {
    "sha256": lambda data: hashlib.sha256(data).digest(),
    "sha1": lambda data: hashlib.sha1(data).digest(),
    "md5": lambda data: hashlib.md5(data).digest(),
    "sha512": lambda data: hashlib.sha512(data).digest()[:32],
    "sha3-256": lambda data: hashlib.sha3_256(data).digest(),
    "blake2b": lambda data: hashlib.blake2b(data, digest_size=32).digest(),
    "keccak-256": lambda data: bytes(keccak(data)),
    "sha256 twice": lambda data: hashlib.sha256(hashlib.sha256(data).digest()).digest(),
}


@dataclass(frozen=True)
class Piece:
    """One value on the chain and where it stands."""

    place: str
    data: bytes


class Walk:
    """Every byte string of a chain, from block 0 to its last."""

    def __init__(self, rpc):
        last = int(rpc.call("eth_blockNumber"), 16)
        self.pieces, self.changes, self.blocks = [], [], 0
        for number in range(last + 1):
            block = rpc.call("eth_getBlockByNumber", hex(number), True)
            self.blocks += 1
            self._piece(f"block {number}", block["extraData"])
            for tx in block["transactions"]:
                self._piece(f"block {number} call", tx["input"])
                self._piece(f"block {number} sender", tx["from"])
            logs = rpc.call("eth_getLogs", {"fromBlock": hex(number), "toBlock": hex(number)})
            for log in logs:
                self._piece(f"block {number} event", log["data"])
                for topic in log["topics"]:
                    self._piece(f"block {number} topic", topic)

    def _piece(self, place, text):
        self.pieces.append(Piece(place, bytes.fromhex(text[2:])))

    @property
    def words(self):
        """Every 32-byte word and every 20-byte address, of any alignment that the ABI uses."""
        found = {}
        for piece in self.pieces:
            start = 4 if piece.place.endswith("call") else 0
            for place in range(start, len(piece.data), 32):
                word = piece.data[place : place + 32]
                for part in (word, word[:20], word[-20:], word[:16], word[-16:]):
                    if any(part):
                        found.setdefault(part, piece.place)
        return found

    # What could lead to a person

    def texts(self, *, code=frozenset()):
        """Readable text anywhere but in the code of contracts: there is no reason for any.

        Long runs of it, or a word of the ABI that is filled up with zeros after it.
        """
        return [
            (piece.place, text)
            for piece in self.pieces
            if not any(piece.data.startswith(known) for known in code)
            for text in (*TEXT.findall(piece.data), *self._padded(piece))
        ]

    @staticmethod
    def _padded(piece):
        start = 4 if piece.place.endswith("call") else 0
        words = (piece.data[at : at + 32] for at in range(start, len(piece.data), 32))
        return [found[1] for word in words if (found := PADDED.fullmatch(word))]

    def quotes(self, secrets):
        """Values that must stay in a hospital, as text, as bytes or as hex digits."""
        everything = b"\0".join(piece.data for piece in self.pieces)
        return [secret for secret in secrets if len(secret) >= 4 and secret in everything]

    def guessable(self, values, *, salts=(b"",)):
        """Words that are a plain hash of one of these values: anyone can try them all."""
        words = self.words
        found = []
        for value, salt in itertools.product(values, salts):
            for spelled in {salt + value, value + salt, json.dumps(value.decode()).encode()}:
                for name, digest in HASHES.items():
                    hashed = digest(spelled)
                    parts = {hashed, hashed[:20], hashed[-20:], hashed[:16]} & words.keys()
                    found += [(words[part], name, spelled) for part in parts]
        return found


def shared_keys(changes):
    """Keys that speak in more than one study: (study, subject) pairs."""
    studies = defaultdict(set)
    for study, subject in changes:
        studies[subject].add(study)
    return [subject for subject, found in studies.items() if len(found) > 1]


def linked_by_timing(changes):
    """How often the nearest key of another study belongs to the same patient.

    ``changes`` are (time, study, patient) in the order of the ledger; the patient is what an
    adversary wants to know, so it is used to score the guess only.
    """
    right = guesses = 0
    for place, (time, study, patient) in enumerate(changes):
        others = [
            (abs(at - time), abs(other - place), who)
            for other, (at, what, who) in enumerate(changes)
            if what != study
        ]
        if others:
            guesses += 1
            right += min(others)[2] == patient
    return right / guesses if guesses else 0.0
