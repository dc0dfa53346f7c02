"""Codes and profiles that AuditEvents of ours use: FHIR R4, DICOM, IHE Basic Audit Log Patterns."""

from __future__ import annotations

DCM = "http://dicom.nema.org/resources/ontology/DCM"
REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
ENTITY = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
LIFECYCLE = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
AUTHORIZATION_TYPE = "https://profiles.ihe.net/ITI/BALP/CodeSystem/AuthZsubType"
BALP = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
AUTHORIZATION = f"{BALP}AuthZconsent"
DISCLOSURE = f"{BALP}PrivacyDisclosure.Source"
QUERY = f"{BALP}Query"

CLIENT = (DCM, "110150")
USER = ("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP")
PROVIDER = ("http://terminology.hl7.org/CodeSystem/v3-RoleClass", "PROV")
AUTHORIZER = ("http://terminology.hl7.org/CodeSystem/extra-security-role-type", "authserver")
SOURCE, RECIPIENT = (DCM, "110153"), (DCM, "110152")
PERSON, CONSENT = (ENTITY, "1"), ("http://hl7.org/fhir/resource-types", "Consent")
REST = ("http://terminology.hl7.org/CodeSystem/audit-event-type", "rest")
SEARCH = ("http://hl7.org/fhir/restful-interaction", "search")
QUERIED = (ENTITY, "2")
