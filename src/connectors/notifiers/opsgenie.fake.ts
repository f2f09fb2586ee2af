/** Opsgenie's Alert API v2: GenieKey, limits of the fields, alerts joined by their alias. */
import { runByHand, startVendor, type VendorFake } from "./vendor.fake"

export const opsgenieKey = "a5e9d1c2-1111-2222-3333-444455556666"

const refused = (status: number, message: string, errors?: Record<string, string>) =>
  Response.json({ message, ...(errors === undefined ? {} : { errors }), took: 0.01, requestId: "r-1" }, { status })

export interface OpsgenieFake extends VendorFake {
  /** How often each open alert was raised, by its alias. */
  readonly alerts: ReadonlyMap<string, number>
}

export const startOpsgenie = async (): Promise<OpsgenieFake> => {
  const alerts = new Map<string, number>()
  const fake = await startVendor({
    path: (path) => path === "/v2/alerts",
    judge({ headers, json }) {
      const [scheme, key] = (headers.get("authorization") ?? "").split(" ")
      if (scheme !== "GenieKey" || key === undefined) return refused(401, "Authorization header is not provided")
      if (key !== opsgenieKey) return refused(401, "Could not authenticate")
      const problems: Record<string, string> = {}
      if (typeof json?.message !== "string" || json.message === "") problems.message = "cannot be null or empty"
      else if (json.message.length > 130) problems.message = "must be at most 130 characters"
      if (json?.description?.length > 15_000) problems.description = "must be at most 15000 characters"
      if (json?.priority !== undefined && !/^P[1-5]$/.test(json.priority))
        problems.priority = "should be one of P1 to P5"
      if (json?.tags !== undefined && !Array.isArray(json.tags)) problems.tags = "should be a list"
      if (Object.keys(problems).length > 0) return refused(422, "Request body is not processable.", problems)
      const alias = typeof json.alias === "string" ? json.alias : `generated-${alerts.size}`
      alerts.set(alias, (alerts.get(alias) ?? 0) + 1)
      return null
    },
    success: () => Response.json({ result: "Request will be processed", took: 0.1, requestId: "r-1" }, { status: 202 }),
  })
  return { ...fake, alerts }
}

if (import.meta.main) await runByHand(startOpsgenie)
