/**
 * The net under the audit trail: values under keys that name a credential or a person are never stored, whatever a caller passes.
 * Keys are compared whole and without case; callers still must not put secrets under other names.
 */

export const credentialMark = "[REDACTED:CREDENTIAL]"
export const personalMark = "[REDACTED:PII]"

const words = (text: string): ReadonlySet<string> => new Set(text.split(/\s+/))

const credentialKeys = words(
  "api_key apikey password passphrase secret client_secret token access_token refresh_token bootstrap_token credential \
credentials private_key privatekey private_key_pem key_pem cert_pem chain_pem full_pem eab_secret eab_kid acme_account_key hmac \
hmac_key signature auth authorization bearer",
)

const personalKeys = words(
  "email email_address phone phone_number telephone ssn social_security dob date_of_birth name full_name first_name last_name \
surname address street street_address city postal_code zip zipcode ip ip_address",
)

const markOf = (key: string): string | null => {
  const name = key.toLowerCase()
  if (credentialKeys.has(name)) return credentialMark
  return personalKeys.has(name) ? personalMark : null
}

/** A copy of `details` without such values; `redacted_keys` lists what was left out. */
export const redactDetails = (details: Readonly<Record<string, unknown>>): Record<string, unknown> => {
  const redacted = new Set<string>()
  const clean = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(clean)
    if (typeof value !== "object" || value === null || value instanceof Date) return value
    return Object.fromEntries(
      Object.entries(value).map(([key, inner]) => {
        const mark = markOf(key)
        if (mark === null) return [key, clean(inner)]
        redacted.add(key)
        return [key, mark]
      }),
    )
  }
  const copy = Object.fromEntries(Object.entries(Object(clean(details))))
  return redacted.size === 0 ? copy : { ...copy, redacted_keys: [...redacted].sort() }
}
