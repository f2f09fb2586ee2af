"""Runs pkilint's linters over many documents in one process. Reads [{"file", "linter"}], writes one JSON list of findings."""

import json
import sys

from pkilint import finding_filter, loader, pkix, report
from pkilint.cabf import cabf_crl, serverauth
from pkilint.cabf.serverauth import serverauth_constants
from pkilint.pkix import certificate, crl, extension, name, ocsp


def pkix_certificate():
    return certificate.create_pkix_certificate_validator_container(
        certificate.create_decoding_validators(
            name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS
        ),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )


def baseline(kind):
    return certificate.create_pkix_certificate_validator_container(
        serverauth.create_decoding_validators(), serverauth.create_validators(kind)
    )


def revocation_list():
    kind = crl.CertificateRevocationListType.CRL
    return crl.create_pkix_crl_validator_container(
        [
            pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
        ],
        [
            crl.create_issuer_validator_container([]),
            crl.create_validity_validator_container([cabf_crl.create_validity_period_validator(kind)]),
            crl.create_extensions_validator_container([]),
        ],
    )


def ocsp_response():
    return ocsp.create_pkix_ocsp_response_validator_container(
        [
            ocsp.create_response_decoder(),
            pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
        ],
        [],
    )


certificates = loader.RFC5280CertificateDocumentLoader()
findings = []
for one in json.load(sys.stdin):
    linter, path = one["linter"], one["file"]
    kind = None
    if linter == "crl":
        documents, validator = loader.RFC5280CertificateListDocumentLoader(), revocation_list()
    elif linter == "ocsp":
        documents, validator = loader.RFC6960OCSPResponseDocumentLoader(), ocsp_response()
    elif linter == "pkix":
        documents, validator = certificates, pkix_certificate()
    else:
        kind = serverauth_constants.CertificateType.from_option_str(linter)
        documents, validator = certificates, baseline(kind)
    with open(path, "rb") as file:
        document = documents.load_der_file(file, path)
    results = validator.validate(document.root)
    if kind is not None:
        results, _ = finding_filter.filter_results(serverauth.create_serverauth_finding_filters(kind), results)
    for result in results:
        for found in result.finding_descriptions:
            findings.append(
                {
                    "file": path,
                    "severity": found.finding.severity.name,
                    "lint": found.finding.code,
                    "message": found.message or "",
                }
            )
json.dump(findings, sys.stdout)
