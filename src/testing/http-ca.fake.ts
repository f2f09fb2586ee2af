/**
 * A CA on a socket that has bad days: a part of its calls fails, another never gets an answer. It counts what it signs. It knows no
 * idempotency keys, as most do not: who asks twice gets two certificates.
 */
import * as v from "valibot"
import { field } from "../connectors/config"
import { defineIssuer, type Issuer, type IssuerDeps } from "../connectors/issuers/contract"
import { AppError } from "../errors"
import { createRootAuthority, openAuthority } from "../pki/authority"
import { parseCsr } from "../pki/csr"
import { sanOf } from "../pki/names"

const SignRequest = v.object({ csr: v.string(), common_name: v.string(), names: v.array(v.string()) })
const SignAnswer = v.object({ certificate: v.string(), chain: v.string() })

export interface CaDays {
  /** Parts of the calls, from 0 to 1. */
  readonly failing: number
  readonly hanging: number
}

const dayMs = 86_400_000

export const startHttpCa = async (options: { now: () => Date; random: () => number; lifetimeMs: number } & CaDays) => {
  const { now, random, lifetimeMs } = options
  const { certPem, privateKey } = await createRootAuthority({
    keyType: "ecdsa-p256",
    commonName: "Stormy CA",
    notBefore: new Date(now().getTime() - dayMs),
    notAfter: new Date(now().getTime() + 4000 * dayMs),
  })
  const authority = openAuthority({ certPem, chainPem: certPem, privateKey })
  let days: CaDays = options
  const counts = { asked: 0, signed: 0, failed: 0, hung: 0, most: 0 }
  let underWay = 0

  const sign = async (request: Request): Promise<Response> => {
    const { csr, common_name, names } = v.parse(SignRequest, await request.json())
    const luck = random()
    if (luck < days.hanging) {
      counts.hung += 1
      // Until the caller hangs up.
      await new Promise<void>((resolve) => request.signal.addEventListener("abort", () => resolve()))
      return new Response(null, { status: 499 })
    }
    if (luck < days.hanging + days.failing) {
      counts.failed += 1
      return Response.json({ error: "the signing service is out of order" }, { status: 503 })
    }
    const { spkiDer, subjectDer } = parseCsr(csr)
    const issued = await authority.sign({
      spkiDer,
      subjectDer,
      sans: [...new Set([common_name, ...names])].map(sanOf),
      ekus: ["serverAuth"],
      notBefore: new Date(now().getTime() - 900_000),
      notAfter: new Date(now().getTime() + lifetimeMs),
    })
    counts.signed += 1
    return Response.json({ certificate: issued.certPem, chain: authority.chainPem })
  }

  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 0,
    async fetch(request) {
      counts.asked += 1
      underWay += 1
      counts.most = Math.max(counts.most, underWay)
      try {
        return await sign(request)
      } finally {
        underWay -= 1
      }
    },
  })

  return {
    url: `http://127.0.0.1:${server.port}`,
    counts,
    /** From now on. */
    be: (next: CaDays) => {
      days = next
    },
    stop: () => server.stop(true),
  }
}

/** Its connector. Answers that do not come are given up by the connector itself, as every outbound call is. */
export const httpCaIssuer = defineIssuer({
  type: "StormyCA",
  aliases: [],
  label: "Stormy CA",
  config: v.object({
    url: field(v.pipe(v.string(), v.url()), "Address", "Base URL of the CA"),
    timeout_ms: field(v.pipe(v.number(), v.minValue(1)), "Timeout", "Longest call, in milliseconds"),
  }),
  example: { url: "http://127.0.0.1:1", timeout_ms: 1000 },
  connect({ url, timeout_ms }, { fetch }): Issuer {
    return {
      async issue({ csrPem, commonName, sans }) {
        let response: Response
        try {
          response = await fetch(url, {
            method: "POST",
            body: JSON.stringify({ csr: csrPem, common_name: commonName, names: sans }),
            signal: AbortSignal.timeout(timeout_ms),
          })
        } catch (error) {
          throw new AppError("upstream", `the CA did not answer within ${timeout_ms} ms`, { cause: error })
        }
        if (!response.ok) throw new AppError("upstream", `the CA answered ${response.status}`)
        const { certificate, chain } = v.parse(SignAnswer, await response.json())
        return { certPem: certificate, chainPem: chain }
      },
      async revoke() {},
      async testConnection() {},
    }
  },
})

/** What the wiring takes instead of the issuers' own connectors. */
export const openedHttpCa = (urlOf: (issuerId: string) => string, timeoutMs: number) => {
  const opened = new Map<string, Issuer>()
  const deps = { fetch } as unknown as IssuerDeps
  return async (issuerId: string) => {
    const connector = opened.get(issuerId) ?? httpCaIssuer.open({ url: urlOf(issuerId), timeout_ms: timeoutMs }, deps)
    opened.set(issuerId, connector)
    return { type: httpCaIssuer.type, inProcess: false, connector }
  }
}
