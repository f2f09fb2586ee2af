/** What a journey has in its inventory: made over the API, as a client outside would. */
import type { Body, ServerProcess } from "./server-process"
import { until } from "./until"

export interface Ownership {
  readonly teamId: string
  readonly ownerId: string
}

export const createOwnership = async (server: ServerProcess, name = "web"): Promise<Ownership> => {
  const team = await server.post("/api/v1/teams", { name: `${name} team` })
  const owner = await server.post("/api/v1/owners", {
    name: `${name} owner`,
    email: `${name}@example.com`,
    team_id: team.id,
  })
  return { teamId: team.id, ownerId: owner.id }
}

/** The fields of a certificate that has no target yet. */
export const certificateFields = ({ teamId, ownerId }: Ownership, name: string) => ({
  name,
  common_name: name,
  sans: [name],
  environment: "production",
  owner_id: ownerId,
  team_id: teamId,
  issuer_id: "iss-local",
  renewal_policy_id: "rp-default",
})

/** Team, owner, target and certificate; returns the ids. Nothing is issued yet. */
export const createSite = async (
  server: ServerProcess,
  agentId: string,
  targetConfig: Record<string, unknown>,
  name = "site.example",
): Promise<Ownership & { targetId: string; certificateId: string }> => {
  const ownership = await createOwnership(server, name)
  const target = await server.post("/api/v1/targets", {
    name: `${name} target`,
    type: "NGINX",
    agent_id: agentId,
    config: targetConfig,
  })
  const certificate = await server.post("/api/v1/certificates", {
    ...certificateFields(ownership, name),
    target_ids: [target.id],
  })
  return { ...ownership, targetId: target.id, certificateId: certificate.id }
}

export const jobsOf = async (server: ServerProcess, certificateId: string): Promise<Body[]> =>
  (await server.get(`/api/v1/jobs?certificate_id=${certificateId}&per_page=500`)).data

export const versionsOf = async (server: ServerProcess, certificateId: string): Promise<Body[]> =>
  (await server.get(`/api/v1/certificates/${certificateId}/versions?per_page=500`)).data

/** The newest job of a kind, once it has ended and, if it deployed, its result was looked at. */
export const endedJob = async (
  server: ServerProcess,
  certificateId: string,
  type: "Issuance" | "Renewal" | "Deployment",
  after: readonly Body[] = [],
): Promise<Body> => {
  const known = new Set(after.map(({ id }) => id))
  let found: Body
  await until(
    `a ${type} job of ${certificateId} has ended`,
    async () => {
      found = (await jobsOf(server, certificateId)).find((job) => job.type === type && !known.has(job.id))
      if (found === undefined || !["Completed", "Failed", "Cancelled"].includes(found.status)) return false
      return type !== "Deployment" || found.status !== "Completed" || found.verification_status !== "pending"
    },
    30_000,
    25,
  )
  return found
}
