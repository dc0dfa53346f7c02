"""Patients' records: read, brought in, sealed, reported. Nothing here sends or logs them."""
