/**
 * Kubernetes: certificate and key as a Secret of type kubernetes.io/tls, for ingress controllers and pods. What others keep in the
 * Secret stays. The API server is the only one spoken to; when pods see the change is up to their kubelets.
 */
import * as v from "valibot"
import { AppError, messageOf } from "../../errors"
import { field } from "../config"
import { type TlsAnswer, type TlsRequest, tlsRequest } from "../tls-request"
import { defineTarget, type Material, type PlanStep } from "./contract"
import { absolutePath, durationSeconds, proofFields, proofSteps, retentionIn } from "./file-target"
import { type ClusterAccess, fromKubeconfig, inCluster, serviceAccountFolder } from "./kubernetes.credentials"
import { joinPem } from "./pem-target"

const timeoutMs = 30_000
/** Somebody else wrote in between: read again and try once more, so often. */
const mostTries = 3
const longestWords = 1024

const tlsType = "kubernetes.io/tls"
const managedBy = { "app.kubernetes.io/managed-by": "certctl" }
const idAnnotation = "certctl.io/certificate-id"
const dateAnnotation = "certctl.io/deployed-at"

const labelKey = v.pipe(
  v.string(),
  v.regex(/^([a-zA-Z0-9\-_.]+\/)?[a-zA-Z0-9\-_.]+$/, "must have label names such as team or example.com/team"),
  v.maxLength(317, "must have label names of at most 317 characters"),
)
const labelValue = v.pipe(
  v.string(),
  v.regex(/^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/, "must have values of letters, digits, hyphens and dots"),
  v.maxLength(63, "must have values of at most 63 characters"),
)

export const kubernetesSecrets = defineTarget({
  type: "KubernetesSecrets",
  label: "Kubernetes Secret",
  isManagedRemotely: true,
  config: v.looseObject({
    namespace: field(
      v.pipe(
        v.string(),
        v.regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/, "must be a namespace's name: small letters, digits and hyphens"),
        v.maxLength(63, "must be at most 63 characters"),
      ),
      "Namespace",
      "Where the Secret is",
    ),
    secret_name: field(
      v.pipe(
        v.string(),
        v.regex(
          /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/,
          "must be a Secret's name: small letters, digits, hyphens and dots",
        ),
        v.maxLength(253, "must be at most 253 characters"),
      ),
      "Secret",
      "Made when it is missing; an existing one must be of type kubernetes.io/tls",
    ),
    labels: field(v.optional(v.record(labelKey, labelValue), {}), "Labels", 'Set on the Secret: {"team": "web"}'),
    kubeconfig_path: field(
      v.optional(v.union([v.literal(""), absolutePath()])),
      "kubeconfig file",
      "On the agent's host; its current context counts. Left out, the service account of the agent's pod is used",
    ),
    kubelet_sync_timeout: field(
      v.optional(durationSeconds, 60),
      "Kubelet patience",
      "How long the proof on the wire waits for pods to see the new Secret, in seconds",
    ),
    ...proofFields,
  }),
  example: { namespace: "web", secret_name: "site-tls", labels: { team: "web" } },

  connect(config, deps) {
    const { namespace, secret_name: name } = config
    const address = `${namespace}/${name}`
    const collection = `/api/v1/namespaces/${namespace}/secrets`
    const path = `${collection}/${name}`

    const access = (): Promise<ClusterAccess> =>
      config.kubeconfig_path
        ? fromKubeconfig(config.kubeconfig_path, deps)
        : inCluster(process.env, serviceAccountFolder)

    const call = async (server: ClusterAccess, request: TlsRequest): Promise<TlsAnswer> =>
      tlsRequest(
        { ...server, timeoutMs },
        {
          ...request,
          path: server.basePath + request.path,
          headers: {
            accept: "application/json",
            ...(request.body === undefined ? {} : { "content-type": "application/json" }),
            ...(server.token === undefined ? {} : { authorization: `Bearer ${server.token}` }),
          },
        },
      )

    const refusal = (what: string, { status, body }: TlsAnswer): AppError => {
      const words = statusMessage(body).slice(0, longestWords)
      return new AppError(
        "upstream",
        `Kubernetes, ${what} ${address}: HTTP ${status}${words === "" ? "" : `: ${words}`}`,
      )
    }

    const read = async (server: ClusterAccess): Promise<Secret | null> => {
      const answer = await call(server, { method: "GET", path })
      // Only this one says that there is none. With 403 there may well be one.
      if (answer.status === 404 && reasonOf(answer.body) === "NotFound") return null
      if (answer.status !== 200) throw refusal("reading Secret", answer)
      return secretIn(answer.body)
    }

    /** Writes what `change` makes of what is there; null removes. Repeats when somebody else wrote in between. */
    const write = async (
      server: ClusterAccess,
      change: (current: Secret | null) => Secret | null | "keep",
    ): Promise<void> => {
      for (let attempt = 1; ; attempt++) {
        const current = await read(server)
        const wanted = change(current)
        if (wanted === "keep" || (wanted === null && current === null)) return
        const answer = await call(server, requestFor(current, wanted))
        if (answer.status >= 200 && answer.status < 300) return
        if (answer.status !== 409 || attempt === mostTries) {
          throw refusal(
            wanted === null ? "removing Secret" : current === null ? "creating Secret" : "updating Secret",
            answer,
          )
        }
      }
    }

    const requestFor = (current: Secret | null, wanted: Secret | null): TlsRequest => {
      if (wanted === null) {
        const { uid, resourceVersion } = current?.metadata ?? {}
        return { method: "DELETE", path, body: JSON.stringify({ preconditions: { uid, resourceVersion } }) }
      }
      return current === null
        ? { method: "POST", path: collection, body: JSON.stringify(wanted) }
        : { method: "PUT", path, body: JSON.stringify(wanted) }
    }

    const dataOf = ({ certPem, chainPem, keyPem }: Material) => ({
      "tls.crt": Buffer.from(joinPem(certPem, chainPem)).toString("base64"),
      "tls.key": Buffer.from(joinPem(keyPem)).toString("base64"),
    })

    return {
      plan(material) {
        const data = dataOf(material)
        const labels = { ...config.labels, ...managedBy }
        const holds = (secret: Secret | null): boolean =>
          secret?.data["tls.crt"] === data["tls.crt"] && secret.data["tls.key"] === data["tls.key"]
        let before: { readonly secret: Secret | null } | null = null

        const updated = (current: Secret | null): Secret => {
          const { managedFields: _, ...metadata } = current?.metadata ?? {}
          return {
            apiVersion: "v1",
            kind: "Secret",
            ...current,
            type: tlsType,
            metadata: {
              ...metadata,
              name,
              namespace,
              labels: { ...current?.metadata.labels, ...labels },
              annotations: {
                ...current?.metadata.annotations,
                [idAnnotation]: material.certificateId,
                [dateAnnotation]: deps.clock.now().toISOString(),
              },
            },
            data: { ...current?.data, ...data },
          }
        }

        return {
          address,
          deploymentId: `k8s-secret-${Math.floor(deps.clock.now().getTime() / 1000)}`,
          files: [],
          locks: [`kubernetes ${config.kubeconfig_path ?? ""} ${address}`],
          isInPlace: async () => {
            const current = await read(await access())
            refuseOtherType(current, address)
            const { labels: present = {}, annotations = {} } = current?.metadata ?? {}
            return (
              holds(current) &&
              annotations[idAnnotation] === material.certificateId &&
              Object.entries(labels).every(([key, value]) => present[key] === value)
            )
          },
          steps: [
            {
              kind: "action",
              name: `writing the Secret ${address}`,
              run: async () =>
                write(await access(), (current) => {
                  refuseOtherType(current, address)
                  // The object of the attempt that succeeds: whatever another one wrote meanwhile is part of what was there.
                  before = { secret: current }
                  return updated(current)
                }),
              undo: async () => {
                const kept = before
                if (kept === null) return
                await write(await access(), (current) => {
                  // Not ours, so nothing of ours to take back; neither when the write never arrived.
                  if (!holds(current) || current === null) return "keep"
                  if (kept.secret === null) return null
                  const { resourceVersion } = current.metadata
                  const { managedFields: _, ...metadata } = kept.secret.metadata
                  return { ...kept.secret, metadata: { ...metadata, ...(resourceVersion && { resourceVersion }) } }
                }).catch((error) => {
                  throw new AppError("upstream", `the Secret still holds the new certificate: ${messageOf(error)}`)
                })
              },
            },
            ...proofSteps(config, true).map((step) => patient(step, config.kubelet_sync_timeout * 1000)),
          ],
          backupRetention: retentionIn(config.backup_retention),
        }
      },

      async check() {
        const server = await access()
        const current = await read(server)
        refuseOtherType(current, address)
        for (const verb of ["get", "create", "update"]) {
          const problem = await mayNot(server, verb)
          if (problem !== null) throw new AppError("upstream", problem)
        }
      },
    }

    /** Why the API server would refuse, or null. Asked of itself, so that nothing is written to find out. */
    async function mayNot(server: ClusterAccess, verb: string): Promise<string | null> {
      const resourceAttributes = { namespace, verb, resource: "secrets", ...(verb === "create" ? {} : { name }) }
      const answer = await call(server, {
        method: "POST",
        path: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        body: JSON.stringify({
          apiVersion: "authorization.k8s.io/v1",
          kind: "SelfSubjectAccessReview",
          spec: { resourceAttributes },
        }),
      })
      // A cluster that does not answer this question may still take the Secret.
      if (answer.status !== 201) return null
      const { status } = jsonOf(answer.body, Review)
      return status.allowed
        ? null
        : `Kubernetes does not allow ${verb} of Secret ${address} (RBAC)${status.reason ? `: ${status.reason}` : ""}`
    }
  },
})

const Secret = v.looseObject({
  type: v.optional(v.string(), "Opaque"),
  metadata: v.looseObject({
    uid: v.optional(v.string()),
    resourceVersion: v.optional(v.string()),
    labels: v.optional(v.record(v.string(), v.string())),
    annotations: v.optional(v.record(v.string(), v.string())),
  }),
  data: v.nullish(v.record(v.string(), v.string()), {}),
})
type Secret = v.InferOutput<typeof Secret>
const Review = v.object({ status: v.object({ allowed: v.boolean(), reason: v.optional(v.string()) }) })
const Status = v.object({ message: v.optional(v.string(), ""), reason: v.optional(v.string(), "") })

const jsonOf = <S extends v.GenericSchema>(body: Buffer, schema: S): v.InferOutput<S> => {
  try {
    return v.parse(schema, JSON.parse(body.toString("utf8")))
  } catch {
    // What arrived may be a Secret: it is not quoted.
    throw new AppError("upstream", "the answer is not one of a Kubernetes API server")
  }
}

const secretIn = (body: Buffer): Secret => jsonOf(body, Secret)

/** The words of a `Status` object, or what a proxy in front says. */
const statusMessage = (body: Buffer): string => {
  try {
    return jsonOf(body, Status).message
  } catch {
    return body.toString("utf8").slice(0, longestWords).trim()
  }
}

const reasonOf = (body: Buffer): string => {
  try {
    return jsonOf(body, Status).reason
  } catch {
    return ""
  }
}

const refuseOtherType = (secret: Secret | null, address: string): void => {
  if (secret === null || secret.type === tlsType) return
  const words = `secret_name: ${address} is a Secret of type ${secret.type}, not ${tlsType}, and a type cannot be changed`
  throw new AppError("validation", words)
}

/** Pods see a new Secret when their kubelet next looks. */
const patient = (step: PlanStep, forMs: number): PlanStep => {
  if (step.kind !== "probe") return step
  const { backoffMs, maxBackoffMs } = step.endpoint
  let attempts = 1
  for (
    let waited = 0, wait = Math.max(backoffMs, 1);
    waited < forMs && attempts < 200;
    wait = Math.min(wait * 2, maxBackoffMs || 1)
  ) {
    waited += wait
    attempts++
  }
  return { ...step, endpoint: { ...step.endpoint, attempts: Math.max(attempts, step.endpoint.attempts) } }
}
