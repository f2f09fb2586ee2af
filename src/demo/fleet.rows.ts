/**
 * The hosts of the demo inventory. Nobody runs these agents, so they are Offline from the start, with the last sign of life
 * that they would have given; their endpoints are under .invalid, where no probe ever finds anything (RFC 2606).
 */
import type { Tables } from "../db/tables/tables"

const minuteMs = 60_000
const dayMs = 86_400_000

const agents = [
  { name: "web-prod", os: "linux", architecture: "amd64", ipAddress: "192.0.2.11", silentMinutes: 12 },
  { name: "web-staging", os: "linux", architecture: "amd64", ipAddress: "192.0.2.21", silentMinutes: 14 },
  { name: "lb-prod", os: "linux", architecture: "amd64", ipAddress: "192.0.2.31", silentMinutes: 11 },
  { name: "iis-prod", os: "windows", architecture: "amd64", ipAddress: "192.0.2.41", silentMinutes: 3 * 24 * 60 },
  { name: "data-prod", os: "linux", architecture: "amd64", ipAddress: "192.0.2.51", silentMinutes: 13 },
  { name: "edge-01", os: "linux", architecture: "arm64", ipAddress: "198.51.100.7", silentMinutes: 17 },
  { name: "k8s-prod", os: "linux", architecture: "amd64", ipAddress: "192.0.2.61", silentMinutes: 12 },
  { name: "mac-dev", os: "darwin", architecture: "arm64", ipAddress: "203.0.113.9", silentMinutes: 19 * 60 },
] as const

type AgentName = (typeof agents)[number]["name"]

/** By the short names that the table of certificates uses. */
export const targets = {
  www: { name: "Web site", type: "NGINX", agent: "web-prod", host: "www" },
  shop: { name: "Shop", type: "Apache", agent: "web-prod", host: "shop" },
  staging: { name: "Staging web", type: "NGINX", agent: "web-staging", host: "staging" },
  public: { name: "Public load balancer", type: "HAProxy", agent: "lb-prod", host: "lb-public" },
  internal: { name: "Internal load balancer", type: "HAProxy", agent: "lb-prod", host: "lb-internal" },
  data: { name: "Data gateway", type: "Envoy", agent: "data-prod", host: "data" },
  edge: { name: "Edge cache", type: "Caddy", agent: "edge-01", host: "edge-01" },
  ingress: { name: "Cluster ingress", type: "KubernetesSecrets", agent: "k8s-prod", host: "ingress" },
} as const satisfies Record<string, { name: string; type: string; agent: AgentName; host: string }>

type DemoTargetType = (typeof targets)[keyof typeof targets]["type"]

/** What each kind is configured with, short of where it is looked at. */
const configs: Readonly<Record<DemoTargetType, (host: string) => Record<string, unknown>>> = {
  NGINX: (host) => ({ cert_path: `/etc/nginx/tls/${host}.pem`, key_path: `/etc/nginx/tls/${host}.key` }),
  Apache: (host) => ({ cert_path: `/etc/apache2/tls/${host}.pem`, key_path: `/etc/apache2/tls/${host}.key` }),
  HAProxy: (host) => ({ pem_path: `/etc/haproxy/tls/${host}.pem` }),
  Envoy: (host) => ({ cert_dir: `/etc/envoy/tls/${host}`, sds_config: true }),
  Caddy: (host) => ({ mode: "file", cert_dir: `/etc/caddy/tls/${host}` }),
  KubernetesSecrets: (host) => ({ namespace: "ingress", secret_name: `${host}-tls` }),
}

export type DemoTarget = keyof typeof targets

export const targetIdOf = (target: DemoTarget): string => `tgt-${target}`
export const agentIdOf = (target: DemoTarget): string => `ag-${targets[target].agent}`
export const endpointOf = (target: DemoTarget): string => `${targets[target].host}.example.invalid:443`

type Insert<Table extends keyof Tables> = Tables[Table]["$inferInsert"]

export const fleetRows = (now: Date) => {
  const before = (ms: number) => new Date(now.getTime() - ms)
  return {
    agents: agents.map(
      ({ name, silentMinutes, ...facts }, i): Insert<"agents"> => ({
        id: `ag-${name}`,
        name: `${name} (demo)`,
        hostname: `${name}.example.com`,
        status: "Offline",
        lastHeartbeatAt: before(silentMinutes * minuteMs),
        registeredAt: before((160 - i * 9) * dayMs),
        version: "demo",
        ...facts,
      }),
    ),
    targets: Object.entries(targets).map(([key, { name, type, agent, host }], i): Insert<"deploymentTargets"> => {
      const at = before((158 - i * 9) * dayMs)
      return {
        id: `tgt-${key}`,
        name,
        type,
        agentId: `ag-${agent}`,
        config: { ...configs[type](host), verify_host: `${host}.example.invalid` },
        createdAt: at,
        updatedAt: at,
      }
    }),
  }
}
