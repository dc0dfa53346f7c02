"""TRUTH: what is on record, proofs of it, and the embedded Ethereum node. Knows no patient."""
