"""An Ethereum node in one process: py-evm over SQLite, behind JSON-RPC on the loopback.

Owns the authoritative copy of the ledger where no other Ethereum node is run. It executes exactly
the rules of the `cancun` fork, has one operator and no consensus protocol: what it cannot give
(freedom from censorship, trusted time) stands in ARCHITECTURE.md. Run it with
``python -m ledger.embedded --dir DIR --port N --genesis FILE``.
"""
