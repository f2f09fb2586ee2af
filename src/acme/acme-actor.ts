/** Who did it, where an ACME client did. */
import type { Actor } from "../access/actor"

export const acmeActor = (accountId: string): Actor => ({ name: `acme:${accountId}`, type: "System", role: "none" })
