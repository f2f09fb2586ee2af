/** An agent of the test fleet: polls, makes keys and deploys as a real one, but also loses answers, fails and dies when told to. */

import type { WorkItem } from "../agents/agent-protocol.schema"
import { parseCertificate, splitChain } from "../pki/certificate"
import { buildCsr, parseCsr } from "../pki/csr"
import { generateKey } from "../pki/keys"
import { agentActor } from "./api"
import type { LifecycleServer } from "./lifecycle-world"

export type Outcome = "ok" | "fails" | "unverified" | "serves-another"

const never = new AbortController().signal

export const fleetAgent = (id: string) => {
  const actor = agentActor(id)
  /** Of the running process: gone when it dies. */
  let inHand = new Map<string, WorkItem>()
  /** On disk: the request last made per certificate. */
  const staged = new Map<string, { jobId: string; csrPem: string }>()
  const keys = new Set<string>()
  /** The job that last put something in a place. */
  const inPlace = new Map<string, string>()
  let busyWith: Promise<unknown> = Promise.resolve()
  /** Every item that reached the agent. */
  const received: WorkItem[] = []
  /** CSRs answered with csr_signed. */
  const signed: { certificateId: string; csrPem: string }[] = []

  const makeCsr = async (jobId: string, certificateId: string, commonName: string, sans: readonly string[]) => {
    const privateKey = await generateKey("ecdsa-p256")
    const csrPem = buildCsr({ commonName, sans: [...sans], privateKey })
    keys.add(parseCsr(csrPem).spkiDer.toString("hex"))
    staged.set(certificateId, { jobId, csrPem })
    return csrPem
  }

  const submit = async (server: LifecycleServer, certificateId: string, csrPem: string): Promise<string> => {
    const status = await server.call(server.issuance.submitCsr({ agentId: id, certificateId, csrPem }, actor))
    if (status === "csr_signed") signed.push({ certificateId, csrPem })
    return status
  }

  const report = (server: LifecycleServer, jobId: string, status: "Running" | "Completed" | "Failed", error = "") =>
    server.call(server.jobs.report(id, jobId, { status, error }, actor))

  const deploy = async (server: LifecycleServer, item: WorkItem, outcome: Outcome): Promise<void> => {
    await report(server, item.id, "Running")
    const pem = await server.call(
      server.work.certificateFor(id, item.certificate_id, item.version_id ?? undefined, actor),
    )
    const { leafPem } = splitChain(pem)
    const { fingerprint, spkiDer } = parseCertificate(leafPem)
    if (!keys.has(spkiDer.toString("hex"))) throw new Error(`${id} was given a certificate for a key it does not have`)
    if (outcome === "fails") {
      await report(server, item.id, "Failed", "the disk is full")
      return
    }
    if (outcome !== "unverified") await verify(server, item, outcome === "ok" ? fingerprint : "00", fingerprint)
    await report(server, item.id, "Completed")
    const place = `${item.certificate_id} at ${item.target_id}`
    const last = inPlace.get(place) ?? ""
    // Ids are in the order of creation.
    if (item.id < last) throw new Error(`${item.id} put an older version of ${place} over that of ${last}`)
    inPlace.set(place, item.id)
  }

  const verify = (
    server: LifecycleServer,
    item: { id: string; target_id?: string | null },
    actual: string,
    expected: string,
  ) =>
    server.call(
      server.jobs.verify(
        item.id,
        {
          targetId: item.target_id ?? "",
          expectedFingerprint: expected,
          actualFingerprint: actual,
          verified: actual === expected,
          error: "",
        },
        actor,
      ),
    )

  const next = async (server: LifecycleServer, outcome: Outcome): Promise<void> => {
    const [item] = inHand.values()
    if (item === undefined) return
    inHand.delete(item.id)
    if (item.status !== "AwaitingCSR") return deploy(server, item, outcome)
    const known = staged.get(item.certificate_id)
    const csrPem =
      known?.jobId === item.id
        ? known.csrPem
        : await makeCsr(item.id, item.certificate_id, item.common_name ?? "", item.sans ?? [])
    if (outcome === "fails") return report(server, item.id, "Failed", "no entropy left")
    await submit(server, item.certificate_id, csrPem)
  }

  return {
    id,
    actor,
    received,
    signed,
    staged,
    submit,
    makeCsr,
    verify,
    report,

    async poll(server: LifecycleServer, { says, loses }: { says: boolean; loses: boolean }): Promise<void> {
      const holding = says ? [...inHand.keys()] : null
      const items = await server.call(server.work.poll(id, { waitSeconds: 0, holding }, never))
      received.push(...items)
      if (loses) return
      for (const item of items) inHand.set(item.id, item)
    },

    /** Works on what was handed to it first; one thing at a time, as an agent does. */
    work(server: LifecycleServer, outcome: Outcome): Promise<void> {
      const done = busyWith.then(() => next(server, outcome))
      busyWith = done.catch(() => {})
      return done
    },

    hasWork: () => inHand.size > 0,
    die: () => {
      inHand = new Map()
    },
  }
}

export type FleetAgent = ReturnType<typeof fleetAgent>
