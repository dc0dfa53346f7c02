"""Logs with proofs: one form for an organisation's audit log and for the network's own log.

An append-only RFC 9162 tree over entries; each entry names its topics and, for each, how many
entries that topic had before and which one was the last. A map of all topics' last entries stands
in the signed checkpoint. So an answer ("all entries of this topic") is proved complete, not only
included. What checks a proof is in ``ledger.verify``; what makes one is here.
"""
