/** What is asked before a certificate is revoked, archived or renewed a second time. */
import type { Question } from "../parts/confirm"
import { selectField, textField } from "../parts/form"
import { html } from "../parts/markup"
import { dateOf, dateText, relativeText } from "../parts/time"

interface Subject {
  readonly id: string
  readonly commonName: string
  readonly targets: readonly unknown[]
}

/** RFC 5280 section 5.3.1, as far as a person may choose them. */
export const revocationReasons = [
  { value: "unspecified", label: "Unspecified" },
  { value: "keyCompromise", label: "Key compromise: the private key may be known to others" },
  { value: "caCompromise", label: "CA compromise: the issuer itself is in doubt" },
  { value: "affiliationChanged", label: "Affiliation changed: the subject's name no longer holds" },
  { value: "superseded", label: "Superseded: replaced by a newer certificate" },
  { value: "cessationOfOperation", label: "Cessation of operation: the service is gone" },
  { value: "certificateHold", label: "Certificate hold: suspended for now" },
  { value: "privilegeWithdrawn", label: "Privilege withdrawn: it may no longer be used" },
]

const placesText = ({ targets }: Subject): string =>
  targets.length === 0
    ? "It is mapped to no target."
    : `It is mapped to ${targets.length} ${targets.length === 1 ? "target, which keeps" : "targets, which keep"} serving it until it is replaced there.`

/** `reason`: chosen before. */
export const revokeQuestion = (certificate: Subject, reason = "unspecified"): Question => ({
  id: "ask-revoke",
  title: `Revoke ${certificate.commonName}?`,
  text: html`<p>Clients that check revocation refuse it from then on. This cannot be undone.</p><p>${placesText(certificate)}</p>`,
  action: `/certificates/${certificate.id}/revoke`,
  confirmLabel: "Revoke certificate",
  danger: true,
  typeToConfirm: certificate.commonName,
  fields: (prefix) =>
    selectField({
      id: `${prefix}-reason`,
      name: "reason",
      label: "Reason",
      options: revocationReasons,
      value: reason,
      required: true,
    }),
})

export const pkcs12Question = (certificate: Pick<Subject, "id" | "commonName">): Question => ({
  id: "ask-pkcs12",
  title: `Export ${certificate.commonName} as PKCS#12`,
  text: html`<p>The file holds the certificate and its chain, to be trusted by Java and Windows. It holds no private key: that stays where it was made.</p>`,
  action: `/certificates/${certificate.id}/export.p12`,
  confirmLabel: "Download",
  danger: false,
  isDownload: true,
  fields: (prefix) =>
    textField({
      id: `${prefix}-password`,
      name: "password",
      label: "Password of the file",
      type: "password",
      autocomplete: "new-password",
      maxlength: 1024,
    }),
})

export const archiveQuestion = (certificate: Subject): Question => ({
  id: "ask-archive",
  title: `Archive ${certificate.commonName}?`,
  text: html`<p>It is no longer renewed, deployed or watched. Its history stays. ${placesText(certificate)}</p>`,
  action: `/certificates/${certificate.id}/archive`,
  confirmLabel: "Archive certificate",
  danger: true,
})

interface EarlierVersion {
  readonly id: string
  readonly serial: string
  readonly notBefore: Date
  readonly notAfter: Date
  readonly agent: { readonly name: string } | null
}

export const deployVersionQuestion = (certificate: Subject, version: EarlierVersion, now: Date): Question => ({
  id: `ask-deploy-${version.id}`,
  title: `Deploy the version of ${dateText(version.notBefore, now)} again?`,
  text: html`<p>Every target of ${certificate.commonName} on ${version.agent?.name ?? "its agent"} goes back to this version, with the key that belongs to it. It expires ${relativeText(version.notAfter, now)}, on ${dateOf(version.notAfter, now)}. The next renewal replaces it.</p><p>Serial <code>${version.serial}</code></p>`,
  action: `/certificates/${certificate.id}/deploy?version_id=${version.id}`,
  confirmLabel: "Deploy this version",
  danger: false,
})

export const forceRenewQuestion = (certificate: Subject): Question => ({
  id: "ask-renew",
  title: `Renew ${certificate.commonName} again?`,
  text: html`<p>A renewal is already running. Starting another one gives up on it and asks the issuer anew.</p>`,
  action: `/certificates/${certificate.id}/renew?force=true`,
  confirmLabel: "Renew again",
  danger: false,
})
