"""The questions that auditors, patients and regulators ask, by name, each with its proof.

An answer is a function of every event of stated topics and of documents whose digests stand on
the ledger. So it can be proved complete (``ledger.log``) and asked again by anyone, from the proof
alone. What nobody records yet is answered with "no source yet", never with an empty table.
"""
