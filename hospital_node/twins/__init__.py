"""Twins of this hospital's patients: kept sealed, up to date, and answering under consent."""
