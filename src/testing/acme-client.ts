/** An ACME client of a few lines, that can also do what no client should. */
import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto"
import { buildCsr } from "../pki/csr"
import { generateKey } from "../pki/keys"
import { pemBlocks } from "../pki/pem"

export type AcmeAlgorithm = "ES256" | "ES384" | "RS256" | "EdDSA"

export interface AcmeKey {
  readonly algorithm: AcmeAlgorithm
  readonly privateKey: KeyObject
  readonly jwk: Readonly<Record<string, string>>
  readonly thumbprint: string
}

const thumbprintMembers: Readonly<Record<string, readonly string[]>> = {
  EC: ["crv", "kty", "x", "y"],
  OKP: ["crv", "kty", "x"],
  RSA: ["e", "kty", "n"],
}

const keyPairOf = (algorithm: AcmeAlgorithm) => {
  switch (algorithm) {
    case "ES256":
      return generateKeyPairSync("ec", { namedCurve: "P-256" })
    case "ES384":
      return generateKeyPairSync("ec", { namedCurve: "P-384" })
    case "RS256":
      return generateKeyPairSync("rsa", { modulusLength: 2048 })
    case "EdDSA":
      return generateKeyPairSync("ed25519")
  }
}

export const acmeKey = (algorithm: AcmeAlgorithm = "ES256"): AcmeKey => {
  const { privateKey, publicKey } = keyPairOf(algorithm)
  const jwk = publicKey.export({ format: "jwk" }) as Record<string, string>
  const members = (thumbprintMembers[jwk.kty ?? ""] ?? []).map((name) => [name, jwk[name]])
  const thumbprint = createHash("sha256")
    .update(JSON.stringify(Object.fromEntries(members)))
    .digest("base64url")
  return { algorithm, privateKey, jwk, thumbprint }
}

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url")

export interface FlattenedJws {
  readonly protected: string
  readonly payload: string
  readonly signature: string
}

/** `payload` undefined: empty, as in a POST that only reads. */
export const signJws = (
  { algorithm, privateKey }: Pick<AcmeKey, "algorithm" | "privateKey">,
  header: object,
  payload: unknown,
): FlattenedJws => {
  const text = encode({ alg: algorithm, ...header })
  const body = payload === undefined ? "" : encode(payload)
  const digest = { ES256: "sha256", ES384: "sha384", RS256: "sha256", EdDSA: null }[algorithm]
  const signature = sign(digest, Buffer.from(`${text}.${body}`), { key: privateKey, dsaEncoding: "ieee-p1363" })
  return { protected: text, payload: body, signature: signature.toString("base64url") }
}

export interface AcmeAnswer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: what a test expects of an answer is said in its assertions
  readonly body: any
}

type Send = (url: string, init: RequestInit) => Response | Promise<Response>

/** Of one directory. `send` is `fetch`, or the application itself. */
export const acmeClient = (send: Send, directory: string, key: AcmeKey = acmeKey()) => {
  const base = directory.replace(/\/directory$/, "")
  let nonce: string | null = null
  let account: string | null = null
  let current = key

  const ask = async (url: string, init: RequestInit = {}): Promise<AcmeAnswer> => {
    const answer = await send(url, init)
    const text = await answer.text()
    nonce = answer.headers.get("replay-nonce")
    const isJson = answer.headers.get("content-type")?.includes("json") ?? false
    return {
      status: answer.status,
      headers: answer.headers,
      text,
      body: isJson && text !== "" ? JSON.parse(text) : null,
    }
  }

  const freshNonce = async (): Promise<string> => {
    if (nonce === null) await ask(`${base}/new-nonce`, { method: "HEAD" })
    const fresh = nonce ?? ""
    nonce = null
    return fresh
  }

  const sendJws = (url: string, body: unknown, contentType = "application/jose+json") =>
    ask(url, { method: "POST", body: JSON.stringify(body), headers: { "content-type": contentType } })

  /** With the account's URL, or with the key itself where there is none yet. `header` replaces what it names. */
  const post = async (url: string, payload?: unknown, header: object = {}): Promise<AcmeAnswer> => {
    const who = account === null ? { jwk: current.jwk } : { kid: account }
    const attempt = async () =>
      sendJws(url, signJws(current, { nonce: await freshNonce(), url, ...who, ...header }, payload))
    const answer = await attempt()
    // RFC 8555 section 6.5: the nonce that was kept may have expired.
    return answer.body?.type === "urn:ietf:params:acme:error:badNonce" ? attempt() : answer
  }

  const register = async (payload: object = {}): Promise<AcmeAnswer> => {
    account = null
    const answer = await post(`${base}/new-account`, { termsOfServiceAgreed: true, ...payload })
    if (answer.status < 300) account = answer.headers.get("location")
    return answer
  }

  return {
    base,
    ask,
    send: sendJws,
    post,
    freshNonce,
    register,
    get account(): string {
      return account ?? ""
    },
    get key(): AcmeKey {
      return current
    },

    order: (...names: string[]): Promise<AcmeAnswer> =>
      post(`${base}/new-order`, { identifiers: names.map((value) => ({ type: "dns", value })) }),

    async changeKey(next: AcmeKey): Promise<AcmeAnswer> {
      const url = `${base}/key-change`
      const answer = await post(url, signJws(next, { jwk: next.jwk, url }, { account, oldKey: current.jwk }))
      if (answer.status === 200) current = next
      return answer
    },

    /** Hands in a CSR for the order's names; `names` and `commonName` for others. */
    async finalize(
      order: AcmeAnswer,
      { names, commonName = "", privateKey }: { names?: string[]; commonName?: string; privateKey?: KeyObject } = {},
    ): Promise<AcmeAnswer & { privateKey: KeyObject }> {
      const certKey = privateKey ?? (await generateKey("ecdsa-p256"))
      const sans = names ?? order.body.identifiers.map(({ value }: { value: string }) => value)
      const csr = buildCsr({ commonName, sans, privateKey: certKey })
      const answer = await post(order.body.finalize, { csr: pemBlocks(csr)[0]?.der.toString("base64url") })
      return { ...answer, privateKey: certKey }
    },
  }
}

export type AcmeClient = ReturnType<typeof acmeClient>
