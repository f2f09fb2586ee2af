/**
 * Caddy's admin API as far as certificates need it: the list `apps/tls/certificates/load_pem` of the running configuration, in
 * which each of our entries carries a tag. (`load`, which older instructions name, takes loader modules and refuses a pair.)
 * The answers and requests hold private keys, so nothing of them gets into an error but Caddy's own words.
 */
import { request as httpRequest } from "node:http"
import { request as httpsRequest } from "node:https"
import * as v from "valibot"
import { AppError, messageOf } from "../../errors"

/** An element of load_pem, whoever put it there. What else is in it is kept. */
const LoadedPem = v.looseObject({
  certificate: v.string(),
  key: v.string(),
  tags: v.optional(v.nullable(v.array(v.string()))),
})
export type LoadedPem = v.InferOutput<typeof LoadedPem>

interface Answer {
  readonly status: number
  readonly body: unknown
  readonly text: string
  readonly etag: string | null
}

/** What the configuration holds, and how to say "only if it is still so". */
interface Seen {
  readonly entries: readonly LoadedPem[]
  /** The first part of the path that is missing; null when the list is there. */
  readonly missing: number | null
  readonly etag: string | null
}

const path = ["config", "apps", "tls", "certificates", "load_pem"]
/** The root alone ends with a slash: without it Caddy redirects. */
const urlPath = (depth: number) => (depth === 1 ? "/config/" : `/${path.slice(0, depth).join("/")}`)
const list = urlPath(path.length)

const timeoutMs = 10_000
const mostBytes = 32 * 1024 * 1024
/** A change that somebody else's change got in front of is begun anew this often. */
const tries = 3

/** Raised where the configuration changed between reading and writing. */
class Overtaken extends AppError {
  constructor() {
    super("conflict", `Caddy's configuration was changed by others each of ${tries} times`)
  }
}

export type CaddyAdmin = ReturnType<typeof caddyAdmin>

/** `address` is the base URL of the admin API, already checked. Everything fails with `upstream`. */
export const caddyAdmin = (address: string) => {
  const base = address.replace(/\/+$/, "")

  const call = (method: string, at: string, value?: unknown, ifMatch: string | null = null): Promise<Answer> => {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    const body = value === undefined ? undefined : JSON.stringify(value)
    const fail = (error: unknown) =>
      reject(new AppError("upstream", `Caddy's admin API at ${base}: ${messageOf(error)}`, { cause: error }))
    const start = base.startsWith("https:") ? httpsRequest : httpRequest
    const request = start(
      `${base}${at}`,
      {
        method,
        agent: false,
        signal: AbortSignal.timeout(timeoutMs),
        headers: {
          ...(body === undefined
            ? {}
            : { "content-type": "application/json", "content-length": Buffer.byteLength(body) }),
          ...(ifMatch === null ? {} : { "if-match": ifMatch }),
        },
      },
      (response) => {
        const chunks: Buffer[] = []
        let size = 0
        response.on("data", (chunk: Buffer) => {
          size += chunk.length
          if (size > mostBytes) response.destroy(new Error("the answer is too large"))
          else chunks.push(chunk)
        })
        response.on("error", fail)
        response.on("end", () => {
          const text = Buffer.concat(chunks).toString("utf8")
          // The ETag comes behind the body, as a trailer, which fetch does not show. Caddy before 2.5 has none.
          const etag = response.trailers.etag ?? response.headers.etag
          resolve({ status: response.statusCode ?? 0, body: parseJson(text), text, etag: etag ?? null })
        })
      },
    )
    request.on("error", fail)
    request.end(body)
    return promise
  }

  /** Looks for the list and, where it is missing, for the part of the path above it that is there. */
  const read = async (): Promise<Seen> => {
    for (let depth = path.length; depth > 0; depth--) {
      const answer = await call("GET", urlPath(depth))
      if (isMissingPath(answer)) continue
      if (answer.status !== 200) throw refusal("reading its configuration", answer)
      if (answer.body === null) return { entries: [], missing: depth, etag: answer.etag }
      // It was not there when it was looked for one step before.
      if (depth < path.length) throw new Overtaken()
      const parsed = v.safeParse(v.array(LoadedPem), answer.body)
      if (!parsed.success) throw new AppError("upstream", `Caddy's ${list} is not a list of certificates`)
      return { entries: parsed.output, missing: null, etag: answer.etag }
    }
    throw new AppError("upstream", `Caddy's admin API at ${base} knows no /config: is it one?`)
  }

  const change = async (method: string, at: string, value: unknown, etag: string | null): Promise<void> => {
    const answer = await call(method, at, value, etag)
    if (answer.status === 412 || (method === "PUT" && answer.text.includes("already exists"))) throw new Overtaken()
    if (answer.status !== 200 && answer.status !== 204) throw refusal("the change", answer)
  }

  /** Reads, decides, writes; begins anew when the configuration has changed in between. */
  const changing = async <R>(task: (seen: Seen) => Promise<R>): Promise<R> => {
    for (let attempt = 1; ; attempt++) {
      try {
        return await task(await read())
      } catch (error) {
        if (!(error instanceof Overtaken) || attempt === tries) throw error
      }
    }
  }

  const put = (entry: LoadedPem, index: number, { missing, etag }: Seen): Promise<void> => {
    if (index >= 0) return change("PATCH", `${list}/${index}`, entry, etag)
    if (missing === null) return change("POST", list, entry, etag)
    // PUT makes what is not there: the missing part and all that belongs below it.
    const below = path.slice(missing).reduceRight<unknown>((value, part) => ({ [part]: value }), [entry])
    // The root is never missing, it is empty: it can only be replaced.
    return change(missing === 1 ? "POST" : "PUT", urlPath(missing), below, etag)
  }

  return {
    /** Whether it answers as an admin API does. */
    async ping(): Promise<void> {
      const answer = await call("GET", urlPath(1))
      if (answer.status !== 200) throw refusal("reading its configuration", answer)
    },

    /** The entry with this tag, or null. */
    async tagged(tag: string): Promise<LoadedPem | null> {
      return (await changing(async ({ entries }) => entries.find(hasTag(tag)))) ?? null
    },

    /**
     * Puts an entry in the place of the one with its tag, or behind all others. `before` is told of what was there right before
     * each attempt. A second entry is never appended: Caddy would go on serving the first one of a name.
     */
    replace: (tag: string, entry: LoadedPem, before: (previous: LoadedPem | null) => void): Promise<void> =>
      changing(async (seen) => {
        const index = seen.entries.findIndex(hasTag(tag))
        before(seen.entries[index] ?? null)
        await put(entry, index, seen)
      }),

    /** Makes the entry with this tag what it was. */
    restore: (tag: string, previous: LoadedPem | null): Promise<void> =>
      changing(async (seen) => {
        const index = seen.entries.findIndex(hasTag(tag))
        if (previous !== null) await put(previous, index, seen)
        else if (index >= 0) await change("DELETE", `${list}/${index}`, undefined, seen.etag)
      }),
  }
}

const hasTag = (tag: string) => (entry: LoadedPem) => entry.tags?.includes(tag) === true

const isMissingPath = ({ status, text }: Answer): boolean =>
  status === 404 || (status === 400 && text.includes("invalid traversal path"))

const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    // Not JSON is no configuration: whoever looks at it says so.
    return undefined
  }
}

const Refusal = v.object({ error: v.string() })

/** Caddy's words, without any key that it may repeat. */
const refusal = (what: string, { status, body, text }: Answer): AppError => {
  const parsed = v.safeParse(Refusal, body)
  const words = (parsed.success ? parsed.output.error : text)
    .replace(/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g, "(key)")
    .trim()
  return new AppError("upstream", `Caddy refused ${what} with status ${status}: ${words.slice(0, 2000)}`)
}
