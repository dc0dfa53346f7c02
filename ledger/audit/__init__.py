"""An organisation's audit log: what happened here, in the form of ``ledger.log``, bodies erasable.

Entries are salted commitments and stay for ever; what they commit to are FHIR R4 AuditEvents
(IHE BALP), kept apart under a key per patient. Erasing a patient deletes key and bodies: what is
left links to nobody. What others see is one head per tick, never how many entries there are.
"""
