"""FHIR R4 bundles as a source of records (https://hl7.org/fhir/R4). Reads files, never a server."""
