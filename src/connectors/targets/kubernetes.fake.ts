/**
 * A Kubernetes API server as far as Secrets go: authentication, RBAC per namespace, optimistic locking, validation, `Status` bodies,
 * over TLS on a real socket. Start by hand: `bun src/connectors/targets/kubernetes.fake.ts` prints a kubeconfig for kubectl.
 */
import { randomBytes, randomUUID } from "node:crypto"
import type { IncomingMessage, ServerResponse } from "node:http"
import { createServer } from "node:https"
import type { TLSSocket } from "node:tls"
import { testAuthority, testLeaf } from "../../../agent/agent-server.fake"
import { generateKey, privateKeyPem, spkiOf } from "../../pki/keys"

interface FakeSecret {
  apiVersion: "v1"
  kind: "Secret"
  type: string
  immutable?: boolean
  metadata: {
    name: string
    namespace: string
    uid: string
    resourceVersion: string
    labels?: Record<string, string>
    annotations?: Record<string, string>
  }
  data: Record<string, string>
}

interface Seen {
  readonly method: string
  readonly path: string
  readonly user: string
}

type Verb = "get" | "list" | "create" | "update" | "delete"

class Refusal extends Error {
  constructor(
    readonly code: number,
    readonly reason: string,
    message: string,
  ) {
    super(message)
  }
}

const base64 = /^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

export const startFakeKubernetes = async () => {
  const authority = await testAuthority("Fake cluster CA")
  const clients = await testAuthority("Fake client CA")
  const serverLeaf = await testLeaf(authority, ["kubernetes.example", "127.0.0.1"])
  const clientKey = await generateKey("ecdsa-p256")
  const { certPem } = await clients.sign({
    spkiDer: spkiOf(clientKey),
    subjectCommonName: "certctl",
    sans: [],
    ekus: ["clientAuth"],
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 3_600_000),
  })
  const clientLeaf = { certPem, keyPem: privateKeyPem(clientKey) }
  const token = randomBytes(24).toString("hex")
  const state = {
    secrets: new Map<string, FakeSecret>(),
    namespaces: new Set(["web", "locked"]),
    seen: [] as Seen[],
    /** user, then namespace, then verbs. */
    rights: {
      "token-user": { web: ["get", "list", "create", "update", "delete"] },
      "certificate-user": { web: ["get", "create", "update"] },
    } as Record<string, Record<string, Verb[]>>,
    /** Called before a write is judged: for somebody else who is faster. */
    beforeWrite: null as (() => void) | null,
    /** Answered once in place of the right thing; "after" does it first. */
    failure: null as { at: "before" | "after"; method: string; status: number } | null,
    malformed: false,
    version: 100,
  }
  const touch = (secret: FakeSecret) => {
    secret.metadata.resourceVersion = String(++state.version)
    return secret
  }

  const userOf = (request: IncomingMessage): string => {
    if (request.headers.authorization === `Bearer ${token}`) return "token-user"
    if (request.headers.authorization === undefined && (request.socket as TLSSocket).authorized)
      return "certificate-user"
    throw new Refusal(401, "Unauthorized", "Unauthorized")
  }

  const allow = (user: string, verb: Verb, namespace: string, name: string) => {
    if (state.rights[user]?.[namespace]?.includes(verb)) return
    const what = name === "" ? 'resource "secrets"' : `"${name}" is forbidden: resource "secrets"`
    const words = `secrets ${what} User "${user}" cannot ${verb} resource "secrets" in API group "" in the namespace "${namespace}"`
    throw new Refusal(403, "Forbidden", words)
  }

  const checked = (raw: unknown, namespace: string, name: string | null): FakeSecret => {
    const body = raw as Partial<FakeSecret>
    if (body?.kind !== "Secret" || body.apiVersion !== "v1") {
      throw new Refusal(400, "BadRequest", "the object provided is unrecognized (must be of type Secret)")
    }
    const given = body.metadata
    if (given?.namespace !== undefined && given.namespace !== namespace) {
      throw new Refusal(
        400,
        "BadRequest",
        "the namespace of the provided object does not match the namespace sent on the request",
      )
    }
    if (given?.name === undefined || (name !== null && given.name !== name)) {
      throw new Refusal(400, "BadRequest", "the name of the object does not match the name on the URL")
    }
    for (const value of Object.values(body.data ?? {})) {
      if (typeof value !== "string" || !base64.test(value)) {
        throw new Refusal(
          400,
          "BadRequest",
          "Secret in version v1 cannot be handled: illegal base64 data at input byte 0",
        )
      }
    }
    if (body.type === "kubernetes.io/tls") {
      for (const key of ["tls.crt", "tls.key"]) {
        if (body.data?.[key] === undefined)
          throw new Refusal(422, "Invalid", `Secret "${given.name}" is invalid: data[${key}]: Required value`)
      }
    }
    return body as FakeSecret
  }

  const answer = (request: IncomingMessage, url: URL, body: unknown, user: string): [number, unknown] => {
    const method = request.method ?? ""
    if (url.pathname === "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews") {
      if (method !== "POST") throw new Refusal(405, "MethodNotAllowed", "the server does not allow this method")
      const { spec } = body as { spec: { resourceAttributes: { namespace: string; verb: Verb } } }
      const { namespace, verb } = spec.resourceAttributes
      const allowed = state.rights[user]?.[namespace]?.includes(verb) === true
      return [
        201,
        { kind: "SelfSubjectAccessReview", apiVersion: "authorization.k8s.io/v1", spec, status: { allowed } },
      ]
    }
    const [, namespace, name] = /^\/api\/v1\/namespaces\/([^/]+)\/secrets(?:\/([^/]+))?$/.exec(url.pathname) ?? []
    if (namespace === undefined) throw new Refusal(404, "", "the server could not find the requested resource")
    const key = `${namespace}/${name}`
    const missing = () => new Refusal(404, "NotFound", `secrets "${name}" not found`)
    const present = () => {
      const found = state.secrets.get(key)
      if (found === undefined) throw missing()
      return found
    }
    if (name === undefined) {
      if (method === "GET") {
        allow(user, "list", namespace, "")
        const items = [...state.secrets.values()].filter(({ metadata }) => metadata.namespace === namespace)
        return [
          200,
          { kind: "SecretList", apiVersion: "v1", metadata: { resourceVersion: String(state.version) }, items },
        ]
      }
      if (method !== "POST") throw new Refusal(405, "MethodNotAllowed", "the server does not allow this method")
      allow(user, "create", namespace, "")
      state.beforeWrite?.()
      if (!state.namespaces.has(namespace)) throw new Refusal(404, "NotFound", `namespaces "${namespace}" not found`)
      const given = checked(body, namespace, null)
      if (given.metadata.resourceVersion)
        throw new Refusal(400, "BadRequest", "resourceVersion should not be set on objects to be created")
      const path = `${namespace}/${given.metadata.name}`
      if (state.secrets.has(path))
        throw new Refusal(409, "AlreadyExists", `secrets "${given.metadata.name}" already exists`)
      const made = touch({
        ...given,
        type: given.type ?? "Opaque",
        metadata: { ...given.metadata, namespace, uid: randomUUID() },
      })
      state.secrets.set(path, made)
      return [201, made]
    }
    switch (method) {
      case "GET":
        allow(user, "get", namespace, name)
        return [200, present()]
      case "PUT": {
        allow(user, "update", namespace, name)
        state.beforeWrite?.()
        const old = present()
        const given = checked(body, namespace, name)
        const version = given.metadata.resourceVersion
        if (version !== undefined && version !== old.metadata.resourceVersion) {
          const words = `Operation cannot be fulfilled on secrets "${name}": the object has been modified; please apply your changes to the latest version and try again`
          throw new Refusal(409, "Conflict", words)
        }
        if (given.type !== old.type)
          throw new Refusal(422, "Invalid", `Secret "${name}" is invalid: type: Invalid value: field is immutable`)
        if (old.immutable && JSON.stringify(given.data) !== JSON.stringify(old.data)) {
          throw new Refusal(
            422,
            "Invalid",
            `Secret "${name}" is invalid: data: Forbidden: field is immutable when \`immutable\` is set`,
          )
        }
        const kept = { name, namespace, uid: old.metadata.uid, resourceVersion: "" }
        const made = touch({ ...given, metadata: { ...given.metadata, ...kept } })
        state.secrets.set(key, made)
        return [200, made]
      }
      case "DELETE": {
        allow(user, "delete", namespace, name)
        const { metadata } = present()
        const { preconditions } = (body ?? {}) as { preconditions?: { uid?: string; resourceVersion?: string } }
        if (
          preconditions?.resourceVersion !== undefined &&
          preconditions.resourceVersion !== metadata.resourceVersion
        ) {
          throw new Refusal(409, "Conflict", "Precondition failed: ResourceVersion in precondition")
        }
        state.secrets.delete(key)
        return [200, { kind: "Status", apiVersion: "v1", status: "Success" }]
      }
      default:
        throw new Refusal(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
    }
  }

  const send = (response: ServerResponse, code: number, body: unknown) => {
    response.writeHead(code, { "content-type": "application/json" })
    response.end(state.malformed ? '{"kind":' : JSON.stringify(body))
  }
  const status = (code: number, reason: string, message: string) => ({
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message,
    reason,
    code,
  })

  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const url = new URL(request.url ?? "/", "https://fake")
    try {
      const user = userOf(request)
      state.seen.push({ method: request.method ?? "", path: url.pathname, user })
      const failing = state.failure?.method === request.method ? state.failure : null
      if (failing !== null) state.failure = null
      if (failing?.at === "before") throw new Refusal(failing.status, "InternalError", "etcdserver: leader changed")
      const text = Buffer.concat(chunks).toString("utf8")
      if (text !== "" && !request.headers["content-type"]?.startsWith("application/json")) {
        throw new Refusal(415, "UnsupportedMediaType", "the body of the request was in an unknown format")
      }
      const [code, body] = answer(request, url, text === "" ? null : JSON.parse(text), user)
      if (failing?.at === "after")
        throw new Refusal(failing.status, "Timeout", "request did not complete within the allotted timeout")
      send(response, code, body)
    } catch (error) {
      if (!(error instanceof Refusal)) send(response, 500, status(500, "InternalError", String(error)))
      else send(response, error.code, status(error.code, error.reason, error.message))
    }
  }

  const server = createServer(
    {
      key: serverLeaf.keyPem,
      cert: serverLeaf.certPem,
      ca: clients.certPem,
      requestCert: true,
      rejectUnauthorized: false,
    },
    (request, response) => void handle(request, response),
  )
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const { port } = server.address() as { port: number }

  const encoded = (pem: string) => Buffer.from(pem).toString("base64")
  return {
    state,
    token,
    caPem: authority.certPem,
    client: clientLeaf,
    port,
    url: `https://127.0.0.1:${port}`,
    /** A kubeconfig; `user` and `cluster` replace the usual parts. */
    kubeconfig: (
      user: object = { token },
      cluster: object = { "certificate-authority-data": encoded(authority.certPem) },
    ) =>
      JSON.stringify({
        apiVersion: "v1",
        kind: "Config",
        "current-context": "here",
        contexts: [{ name: "here", context: { cluster: "fake", user: "me" } }],
        clusters: [{ name: "fake", cluster: { server: `https://127.0.0.1:${port}`, ...cluster } }],
        users: [{ name: "me", user }],
      }),
    put(secret: {
      namespace: string
      name: string
      type?: string
      data?: Record<string, string>
      labels?: Record<string, string>
      annotations?: Record<string, string>
      immutable?: boolean
    }) {
      const {
        namespace,
        name,
        type = "kubernetes.io/tls",
        data = { "tls.crt": "", "tls.key": "" },
        labels,
        annotations,
        immutable,
      } = secret
      const metadata = {
        name,
        namespace,
        uid: randomUUID(),
        resourceVersion: "",
        ...(labels && { labels }),
        ...(annotations && { annotations }),
      }
      const made = touch({ apiVersion: "v1", kind: "Secret", type, metadata, data, ...(immutable && { immutable }) })
      state.secrets.set(`${namespace}/${name}`, made)
      return made
    },
    stop: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

if (import.meta.main) {
  const { kubeconfig } = await startFakeKubernetes()
  console.log(kubeconfig())
}
