"""Consents as FHIR resources: read, granted and withdrawn by the hospital's own record system."""
