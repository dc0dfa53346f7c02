"""What the API says of itself: CapabilityStatement, SMART configuration, OpenAPI."""

from __future__ import annotations

from typing import Any

from consent.fhir import search, smart
from consent.fhir.refusal import Json

_DATE = "2026-11-21"
_KIND = "application/fhir+json"
_TYPES = {"_id": "token", "patient": "reference", "status": "token", "period": "date",
          "_lastUpdated": "date"}  # fmt: skip


def capability(base: str) -> Json:
    """The CapabilityStatement; https://hl7.org/fhir/R4/capabilitystatement.html."""
    acts = ("read", "vread", "update", "history-instance", "create", "search-type")
    oauth = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": _DATE,
        "kind": "instance",
        "implementation": {"description": "Twinward: consents of one hospital", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [
            {
                "mode": "server",
                "security": {
                    "extension": [
                        {
                            "url": oauth,
                            "extension": [{"url": "token", "valueUri": f"{base}/token"}],
                        }
                    ],
                    "service": [
                        {
                            "coding": [
                                {
                                    "system": "http://terminology.hl7.org/CodeSystem/"
                                    "restful-security-service",
                                    "code": "SMART-on-FHIR",
                                }
                            ]
                        }
                    ],
                },
                "resource": [
                    {
                        "type": "Consent",
                        "documentation": "IHE PCF Basic and Intermediate; a permission with an"
                        " element that cannot be kept to is refused",
                        "interaction": [{"code": act} for act in acts],
                        "versioning": "versioned",
                        "readHistory": True,
                        "updateCreate": False,
                        "searchParam": [
                            {"name": name, "type": _TYPES[name]} for name in search.PARAMETERS
                        ],
                        "operation": [
                            {"name": name, "definition": f"{base}/openapi.json"}
                            for name in ("decide", "offers")
                        ],
                    }
                ],
            }
        ],
    }


def configuration(base: str) -> Json:
    """What SMART asks under ``.well-known``."""
    return {
        "token_endpoint": f"{base}/token",
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": smart.ALGORITHMS,
        "scopes_supported": sorted(smart.SCOPES),
        "capabilities": ["client-confidential-asymmetric", "permission-v1", "permission-v2"],
    }


def openapi(base: str) -> Json:
    """OpenAPI 3.1 of everything that is served."""
    name = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    number = {"name": "version", "in": "path", "required": True, "schema": {"type": "string"}}
    match = {"name": "If-Match", "in": "header", "schema": {"type": "string"}}
    searched = [
        {"name": each, "in": "query", "schema": {"type": "string"}} for each in search.PARAMETERS
    ]
    count = {"name": "_count", "in": "query", "schema": {"type": "integer", "minimum": 0}}
    get, one = "200", "Consent"
    return {
        "openapi": "3.1.0",
        "info": {"title": "Twinward FHIR consent API", "version": _DATE},
        "servers": [{"url": base}],
        "security": [{"smart": []}],
        "components": {"securitySchemes": {"smart": _SECURITY}, "schemas": _SCHEMAS},
        "paths": {
            "/metadata": {"get": _open("CapabilityStatement")},
            "/.well-known/smart-configuration": {"get": _open("Configuration")},
            "/token": {"post": _TOKEN},
            "/Consent": {
                "get": _does("Search", get, "Bundle", parameters=[*searched, count]),
                "post": _does("Give or refuse", "201", one, body=one),
            },
            "/Consent/$offers": {"get": _does("Studies that ask now", get, "Parameters")},
            "/Consent/$decide": {
                "post": _does("May a study use this", get, "Parameters", body="Question")
            },
            "/Consent/{id}": {
                "get": _does("Read", get, one, parameters=[name]),
                "put": _does("Withdraw", get, one, parameters=[name, match], body=one),
            },
            "/Consent/{id}/_history": {"get": _does("History", get, "Bundle", parameters=[name])},
            "/Consent/{id}/_history/{version}": {
                "get": _does("Read a version", get, one, parameters=[name, number])
            },
        },
    }


def _resource(kind: str, required: tuple[str, ...] = (), **properties: Any) -> Json:
    return {
        "type": "object",
        "required": ["resourceType", *required],
        "properties": {"resourceType": {"const": kind}, **properties},
    }


_TEXT = {"type": "string"}
_SECURITY = {
    "type": "oauth2",
    "flows": {
        "clientCredentials": {
            "tokenUrl": "token",
            "scopes": {scope: f"may {acts}" for scope, acts in smart.SCOPES.items()},
        }
    },
}
_SCHEMAS: Json = {
    "Consent": _resource(
        "Consent",
        ("status",),
        status={"enum": ["active", "inactive", "entered-in-error"]},
        scope={"type": "object"},
        category={"type": "array", "items": {"type": "object"}},
        patient={"type": "object", "properties": {"reference": _TEXT}},
        provision={"type": "object", "properties": {"type": {"enum": ["permit", "deny"]}}},
    ),
    "Bundle": _resource(
        "Bundle",
        ("type", "total"),
        type={"enum": ["searchset", "history"]},
        total={"type": "integer", "minimum": 0},
        entry={"type": "array", "minItems": 1, "items": {"type": "object"}},
    ),
    "Parameters": _resource("Parameters", parameter={"type": "array", "items": {"type": "object"}}),
    "Question": _resource(
        "Parameters",
        ("parameter",),
        parameter={
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"enum": ["patient", "study"]},
                    "valueString": _TEXT,
                    "valueReference": {"type": "object", "properties": {"reference": _TEXT}},
                },
            },
        },
    ),
    "CapabilityStatement": _resource("CapabilityStatement", ("status", "fhirVersion", "rest")),
    "Configuration": {"type": "object", "required": ["token_endpoint", "capabilities"]},
    "Token": {"type": "object", "required": ["access_token", "token_type", "expires_in", "scope"]},
    "TokenError": {"type": "object", "required": ["error"]},
    "OperationOutcome": _resource(
        "OperationOutcome",
        ("issue",),
        issue={
            "type": "array",
            "minItems": 1,
            "items": {"type": "object", "required": ["severity", "code", "diagnostics"]},
        },
    ),
}


def _said(schema: str, words: str, kind: str = _KIND) -> Json:
    schemas = {"$ref": f"#/components/schemas/{schema}"}
    return {"description": words, "content": {kind: {"schema": schemas}}}


def _does(
    summary: str,
    status: str,
    schema: str,
    *,
    parameters: list[Json] | None = None,
    body: str | None = None,
) -> Json:
    found: Json = {
        "summary": summary,
        "parameters": parameters or [],
        "responses": {
            status: _said(schema, "done"),
            "4XX": _said("OperationOutcome", "refused; the element is named"),
            "503": _said("OperationOutcome", "the ledger is not known well enough"),
        },
    }
    if body is not None:
        schemas = {"$ref": f"#/components/schemas/{body}"}
        found["requestBody"] = {"required": True, "content": {_KIND: {"schema": schemas}}}
    return found


def _open(schema: str) -> Json:
    return {
        "summary": schema,
        "security": [],
        "responses": {"200": _said(schema, "as it is", "application/json")},
    }


_TOKEN: Json = {
    "summary": "A token for a signed assertion",
    "security": [],
    "requestBody": {
        "required": True,
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {
                    "type": "object",
                    "required": [
                        "grant_type", "scope", "client_assertion_type", "client_assertion"
                    ],
                    "properties": {
                        "grant_type": {"const": "client_credentials"},
                        "scope": _TEXT,
                        "client_assertion_type": {"const": smart.ASSERTION_TYPE},
                        "client_assertion": _TEXT,
                    },
                }
            }
        },
    },
    "responses": {
        "200": _said("Token", "a token", "application/json"),
        "4XX": _said("TokenError", "no token", "application/json"),
    },
}  # fmt: skip
