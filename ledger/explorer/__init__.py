"""The auditor's site: what stands on the ledger, in words, with how far it is verified."""
