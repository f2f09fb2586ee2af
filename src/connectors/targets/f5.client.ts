/** What is needed of a BIG-IP's iControl REST: uploads, key and certificate objects, client-SSL profiles, transactions. */
import * as v from "valibot"
import { AppError } from "../../errors"
import { type TlsAnswer, type TlsPeer, type TlsRequest, tlsRequest } from "../tls-request"

export interface BigIpLogin {
  readonly username: string
  readonly password: string
}

/** What a client-SSL profile serves, as full paths; null where it has none. */
export interface ProfileIdentity {
  readonly cert: string | null
  readonly key: string | null
  readonly chain: string | null
}

export type ObjectKind = "cert" | "key"

/** The device refuses longer pieces. */
const chunkBytes = 1024 * 1024
const longestWords = 1024
/** Where uploads end up on the device. */
const uploadFolder = "/var/config/rest/downloads"

const Login = v.object({ token: v.object({ token: v.string() }) })
const Profile = v.object({
  cert: v.optional(v.string()),
  key: v.optional(v.string()),
  chain: v.optional(v.string()),
  certKeyChain: v.optional(v.array(v.object({ name: v.optional(v.string(), "") })), []),
})
const CertificateFile = v.object({ fingerprint: v.optional(v.string()) })
const Transaction = v.object({
  transId: v.number(),
  state: v.optional(v.string(), ""),
  failureReason: v.optional(v.string(), ""),
})
const Problem = v.object({ message: v.string() })

/** `/Common/name` as iControl writes it in paths. */
const inPath = (fullPath: string): string => fullPath.split("/").map(encodeURIComponent).join("~")

const named = (reference: string | undefined): string | null =>
  reference === undefined || reference === "" || reference === "none" ? null : reference

/** One session: logs in when first needed, and once more when the device has forgotten the token. */
export const bigIp = (peer: TlsPeer, { username, password }: BigIpLogin) => {
  let token: string | null = null

  const refusal = (what: string, { status, body }: TlsAnswer): AppError => {
    const words = [password, token ?? ""].reduce(
      (text, secret) => (secret === "" ? text : text.replaceAll(secret, "********")),
      messageIn(body).slice(0, longestWords),
    )
    return new AppError("upstream", `F5, ${what}: HTTP ${status}${words === "" ? "" : `: ${words}`}`)
  }

  const logIn = async (): Promise<string> => {
    const body = JSON.stringify({ username, password, loginProviderName: "tmos" })
    const headers = { "content-type": "application/json" }
    const answer = await tlsRequest(peer, { method: "POST", path: "/mgmt/shared/authn/login", headers, body })
    if (answer.status !== 200) throw refusal(`login of ${username}`, answer)
    return jsonIn(answer.body, Login).token.token
  }

  const send = async (request: TlsRequest): Promise<TlsAnswer> => {
    for (let isFresh = token === null; ; isFresh = true) {
      token ??= await logIn()
      const headers = {
        ...(typeof request.body === "string" ? { "content-type": "application/json" } : {}),
        ...request.headers,
        "x-f5-auth-token": token,
      }
      const answer = await tlsRequest(peer, { ...request, headers })
      if (answer.status !== 401 || isFresh) return answer
      token = null
    }
  }

  const ask = async <S extends v.GenericSchema>(
    what: string,
    request: TlsRequest,
    schema: S,
  ): Promise<v.InferOutput<S>> => {
    const answer = await send(request)
    if (answer.status < 200 || answer.status > 299) throw refusal(what, answer)
    return jsonIn(answer.body, schema)
  }

  const objectPath = (kind: ObjectKind, fullPath: string) => `/mgmt/tm/sys/crypto/${kind}/${inPath(fullPath)}`

  return {
    /** Fails with `validation` when it holds more than one: cert, key and chain then stand for one of them only. */
    profile: async (fullPath: string): Promise<ProfileIdentity> => {
      const path = `/mgmt/tm/ltm/profile/client-ssl/${inPath(fullPath)}`
      const found = await ask(`reading profile ${fullPath}`, { method: "GET", path }, Profile)
      if (found.certKeyChain.length > 1) {
        const names = found.certKeyChain.map(({ name }) => name).join(", ")
        throw new AppError(
          "validation",
          `ssl_profile: ${fullPath} holds several certificates (${names}), of which one alone cannot be replaced; use a profile for each`,
        )
      }
      return { cert: named(found.cert), key: named(found.key), chain: named(found.chain) }
    },

    /** SHA-256 of a certificate object, lower-case hex; null when the device does not say. */
    fingerprint: async (fullPath: string): Promise<string | null> => {
      const path = `/mgmt/tm/sys/file/ssl-cert/${inPath(fullPath)}`
      const { fingerprint } = await ask(`reading certificate ${fullPath}`, { method: "GET", path }, CertificateFile)
      const [, hex] = /^SHA256\/([0-9A-F:]+)$/i.exec(fingerprint ?? "") ?? []
      return hex?.replaceAll(":", "").toLowerCase() ?? null
    },

    async upload(file: string, content: Buffer): Promise<void> {
      for (let start = 0; start < content.length; start += chunkBytes) {
        const piece = content.subarray(start, start + chunkBytes)
        const range = `${start}-${start + piece.length - 1}/${content.length}`
        const headers = { "content-type": "application/octet-stream", "content-range": range }
        const path = `/mgmt/shared/file-transfer/uploads/${encodeURIComponent(file)}`
        await ask(`uploading ${file}`, { method: "POST", path, headers, body: piece }, v.unknown())
      }
    },

    async install(kind: ObjectKind, name: string, file: string): Promise<void> {
      const body = JSON.stringify({ command: "install", name, "from-local-file": `${uploadFolder}/${file}` })
      await ask(`installing ${name}`, { method: "POST", path: `/mgmt/tm/sys/crypto/${kind}`, body }, v.unknown())
    },

    /** Fails with the device's words while something uses it. One that is not there is fine. */
    async remove(kind: ObjectKind, fullPath: string): Promise<void> {
      const answer = await send({ method: "DELETE", path: objectPath(kind, fullPath) })
      if (answer.status !== 404 && (answer.status < 200 || answer.status > 299))
        throw refusal(`removing ${fullPath}`, answer)
    },

    /** Changes all three in one transaction, which the device checks as a whole. */
    async assign(profile: string, { cert, key, chain }: ProfileIdentity): Promise<void> {
      const { transId } = await ask(
        "beginning a transaction",
        { method: "POST", path: "/mgmt/tm/transaction", body: "{}" },
        Transaction,
      )
      const identity = JSON.stringify({ cert: cert ?? "none", key: key ?? "none", chain: chain ?? "none" })
      const path = `/mgmt/tm/ltm/profile/client-ssl/${inPath(profile)}`
      // The overriding-collection header would look alike and change the profile at once.
      const headers = { "x-f5-rest-coordination-id": String(transId) }
      await ask(`changing profile ${profile}`, { method: "PATCH", path, headers, body: identity }, v.unknown())
      let done = await ask(
        "committing",
        { method: "PATCH", path: `/mgmt/tm/transaction/${transId}`, body: JSON.stringify({ state: "VALIDATING" }) },
        Transaction,
      )
      const end = performance.now() + peer.timeoutMs
      while (done.state !== "COMPLETED") {
        if (done.state === "FAILED") throw new AppError("upstream", `F5, committing: ${done.failureReason || "FAILED"}`)
        if (performance.now() > end)
          throw new AppError("upstream", `F5, committing: still ${done.state || "without state"}`)
        await Bun.sleep(200)
        done = await ask("committing", { method: "GET", path: `/mgmt/tm/transaction/${transId}` }, Transaction)
      }
    },
  }
}

export type BigIp = ReturnType<typeof bigIp>

const jsonIn = <S extends v.GenericSchema>(body: Buffer, schema: S): v.InferOutput<S> => {
  try {
    return v.parse(schema, body.length === 0 ? {} : JSON.parse(body.toString("utf8")))
  } catch {
    // What arrived may hold a token: it is not quoted.
    throw new AppError("upstream", "F5: the answer is not one of iControl REST")
  }
}

const messageIn = (body: Buffer): string => {
  try {
    return jsonIn(body, Problem).message
  } catch {
    return body.toString("utf8").slice(0, longestWords).trim()
  }
}
