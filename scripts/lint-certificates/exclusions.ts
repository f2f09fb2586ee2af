/**
 * Lints that do not fit a private CA, and why. One that no longer finds anything fails the run, so that the list stays true.
 * Everything that RFC 5280 itself demands is left in.
 */
interface Exclusion {
  readonly why: string
  /** Of this lint only findings with such a message. */
  readonly only?: RegExp
}

const policies = "certificate policies name the rules of a public CA, which a private one does not claim to follow"
const names =
  "what a private CA and its responder are called is the operator's choice; only the common name is asked for"
const anchors = "who trusts a private CA has its certificate, and its EKUs are limited by the profiles"
const subjects = "the subject is the requester's, and a common name is what operators look for"
const ed25519 = "browsers do not take Ed25519, other relying parties of a private CA do"
const retired = "the CA above is offline: an intermediate CA is retired, not revoked"
const rsa =
  "clients of TLS 1.2 may encrypt to the RSA key of a server, SCEP servers to that of a client (RFC 8894 section 3.1)"

export const excluded: Readonly<Record<string, Exclusion>> = {
  "cabf.serverauth.ca.country_attribute_absent": { why: names },
  "cabf.serverauth.ca.organization_name_attribute_absent": { why: names },
  e_ca_country_name_missing: { why: names },
  "cabf.serverauth.dv.common_name_attribute_present": { why: subjects },
  w_subject_common_name_included: { why: subjects },
  "cabf.serverauth.subscriber.subject_key_identifier_extension_present": { why: "RFC 5280 section 4.2.1.2 wants it" },
  w_ext_subject_key_identifier_not_recommended_subscriber: { why: "RFC 5280 section 4.2.1.2 wants it" },
  "cabf.serverauth.subscriber.certificate_policies_extension_absent": { why: policies },
  "cabf.serverauth.cross_ca.certificate_policies_extension_absent": { why: policies },
  "cabf.serverauth.ca.certificate_policies_extension_absent": { why: policies },
  e_sub_cert_cert_policy_empty: { why: policies },
  e_sub_cert_certificate_policies_missing: { why: policies },
  e_invalid_ca_certificate_policies: { why: policies },
  e_sub_ca_certificate_policies_missing: { why: policies },
  "cabf.serverauth.cross_ca.authority_info_access_extension_absent": { why: anchors },
  "cabf.serverauth.cross_ca.extended_key_usage_extension_absent": { why: anchors },
  "cabf.serverauth.ca.authority_info_access_extension_absent": { why: anchors },
  "cabf.serverauth.ca.extended_key_usage_extension_absent": { why: anchors },
  w_sub_ca_aia_missing: { why: anchors },
  "cabf.serverauth.ca.crl_distribution_points_extension_absent": { why: retired },
  e_sub_ca_crl_distribution_points_missing: { why: retired },
  "cabf.serverauth.name_constraints_discouraged_name_type": { why: "mail domains are among what can be constrained" },
  "cabf.serverauth.subscriber_rsa_digitalsignature_and_keyencipherment_present": { why: rsa },
  e_key_usage_and_extended_key_usage_inconsistent: { why: rsa, only: /KeyEncipherment.* ExtKeyUsage clientAuth$/ },
  "cabf.serverauth.prohibited_subject_public_key_algorithm_encoding": { why: ed25519, only: /300506032b6570$/ },
  "cabf.serverauth.prohibited_signature_algorithm_encoding": { why: ed25519, only: /300506032b6570$/ },
  e_algorithm_identifier_improper_encoding: { why: ed25519, only: /300506032b6570/ },
  e_signature_algorithm_not_supported: { why: ed25519 },
  "cabf.serverauth.subscriber.unknown_extension_present": {
    why: "the TLS feature extension (RFC 7633) stands where the profile asks for it",
    only: /1\.3\.6\.1\.5\.5\.7\.1\.24$/,
  },
  "pkix.invalid_domain_name_syntax": {
    why: "RFC 5280 section 4.2.1.6 leaves wildcards to applications; RFC 9525 section 6.3 has them",
    only: /"\*\./,
  },
  "pkix.invalid_uri_syntax": { why: "the linter knows no scheme but those of the web", only: /"spiffe:\/\// },
  e_cab_crl_has_valid_reason_code: {
    why: "the reasons of RFC 5280 section 5.3.1 can all be given, certificateHold too",
  },
}
