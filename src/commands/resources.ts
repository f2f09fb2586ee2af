/** The resources that need no more than the five commands: teams, owners, issuers, targets, profiles, renewal policies. */
import type { Command } from "commander"
import type { InferRequestType, InferResponseType } from "hono/client"
import type { ApiClient } from "./api"
import { apiCommand, type Cli, calling, idArgument } from "./cli"
import { note } from "./output"
import { addResource, type Resource } from "./resource"
import { addRoots } from "./roots"

type Row<E extends { ":id": { $get: unknown } }> = InferResponseType<E[":id"]["$get"]>
type Body<E extends { $post: unknown }> = InferRequestType<E["$post"]> extends { json: infer B } ? B : never

const name = { kind: "text", description: "unique name", required: true } as const

const teams: Resource<Row<ApiClient["teams"]>, Body<ApiClient["teams"]>> = {
  noun: "teams",
  singular: "team",
  description: "teams",
  endpoint: (api) => api.teams,
  fields: { name, description: { kind: "text", description: "description" } },
  columns: { ID: (row) => row.id, NAME: (row) => row.name, DESCRIPTION: (row) => row.description },
}

const owners: Resource<Row<ApiClient["owners"]>, Body<ApiClient["owners"]>> = {
  noun: "owners",
  singular: "owner",
  description: "who answers for certificates",
  endpoint: (api) => api.owners,
  fields: {
    name,
    email: { kind: "text", description: "mail address" },
    team_id: { kind: "text", description: "team that the owner belongs to" },
  },
  columns: {
    ID: (row) => row.id,
    NAME: (row) => row.name,
    EMAIL: (row) => row.email,
    TEAM: (row) => row.team_id,
  },
}

const config = {
  kind: "json",
  description: "settings of the type, see docs/connectors.md",
} as const
const enabled = { kind: "boolean", description: "whether it is used" } as const
const type = (example: string) =>
  ({ kind: "text", description: `connector, such as ${example}`, required: true }) as const

const issuers: Resource<Row<ApiClient["issuers"]>, Body<ApiClient["issuers"]>> = {
  noun: "issuers",
  singular: "issuer",
  description: "CAs",
  endpoint: (api) => api.issuers,
  fields: {
    name,
    type: type("GenericCA"),
    config,
    enabled,
    hierarchy_mode: { kind: "text", description: "single, or tree to sign with the deepest CA of a hierarchy" },
  },
  columns: {
    ID: (row) => row.id,
    NAME: (row) => row.name,
    TYPE: (row) => row.type,
    ENABLED: (row) => row.enabled,
    TEST: (row) => row.test_status,
  },
}

const targets: Resource<Row<ApiClient["targets"]>, Body<ApiClient["targets"]>> = {
  noun: "targets",
  singular: "target",
  description: "places that receive certificates",
  endpoint: (api) => api.targets,
  fields: {
    name,
    type: type("NGINX"),
    agent_id: { kind: "text", description: "agent on whose host it is", required: true },
    config,
    enabled,
    deployment_windows: {
      kind: "json",
      description:
        'when deployments may begin, such as {"time_zone":"Europe/Berlin","windows":[{"days":["sat"],"from":"22:00","to":"04:00"}]}',
    },
  },
  columns: {
    ID: (row) => row.id,
    NAME: (row) => row.name,
    TYPE: (row) => row.type,
    AGENT: (row) => row.agent_id,
    ENABLED: (row) => row.enabled,
    TEST: (row) => row.test_status,
  },
}

const profiles: Resource<Row<ApiClient["profiles"]>, Body<ApiClient["profiles"]>> = {
  noun: "profiles",
  singular: "profile",
  description: "what may be issued",
  endpoint: (api) => api.profiles,
  fields: {
    name,
    description: { kind: "text", description: "description" },
    allowed_key_algorithms: { kind: "json", description: 'such as [{"algorithm":"ECDSA","min_size":256}]' },
    max_ttl_seconds: { kind: "number", description: "longest lifetime in seconds; 0: the issuer's" },
    allowed_ekus: { kind: "list", description: "extended key usages, such as serverAuth" },
    required_san_patterns: { kind: "list", description: "patterns that the names must match" },
    spiffe_uri_pattern: { kind: "text", description: "pattern of a SPIFFE id" },
    allow_short_lived: { kind: "boolean", description: "whether lifetimes below an hour are allowed" },
    enabled,
    must_staple: { kind: "boolean", description: "whether certificates ask for OCSP stapling" },
    required_csr_attributes: { kind: "list", description: "attributes that a CSR must have" },
    requires_approval: { kind: "boolean", description: "whether somebody has to approve each issuance" },
    acme_auth_mode: {
      kind: "text",
      description: "for ACME clients: trust_authenticated or challenge; empty: the server's",
    },
    acme_issuer_id: { kind: "text", description: "who issues to ACME clients; empty: the local CA" },
  },
  columns: {
    ID: (row) => row.id,
    NAME: (row) => row.name,
    "MAX TTL": (row) => row.max_ttl_seconds,
    EKUS: (row) => row.allowed_ekus.join(","),
    ENABLED: (row) => row.enabled,
  },
}

const renewalPolicies: Resource<Row<ApiClient["renewal-policies"]>, Body<ApiClient["renewal-policies"]>> = {
  noun: "renewal-policies",
  singular: "renewal policy",
  description: "when to renew, how often to try, when to tell",
  endpoint: (api) => api["renewal-policies"],
  fields: {
    name,
    renewal_window_days: { kind: "number", description: "days before expiry (default: 30)" },
    auto_renew: { kind: "boolean", description: "without asking for approval (default: true)" },
    max_retries: { kind: "number", description: "attempts (default: 3)" },
    retry_interval_seconds: { kind: "number", description: "seconds between attempts (default: 3600)" },
    alert_thresholds_days: { kind: "numbers", description: "days before expiry (default: 30,14,7,0)" },
    rollout: { kind: "text", description: "one_first (default) or all_at_once" },
    agent_group_id: { kind: "text", description: "agent group that it is for" },
    alert_channels: { kind: "json", description: "channels by severity" },
    alert_severity_map: { kind: "json", description: "severity by threshold" },
  },
  columns: {
    ID: (row) => row.id,
    NAME: (row) => row.name,
    "WINDOW DAYS": (row) => row.renewal_window_days,
    "AUTO RENEW": (row) => row.auto_renew,
    RETRIES: (row) => row.max_retries,
  },
}

export const addIssuers = (program: Command, cli: Cli): void => {
  const group = addResource(program, cli, issuers)
  apiCommand(group, "test", "test the connection to an issuer")
    .argument("<id>", "id of the issuer", idArgument)
    .action(
      calling(cli, async ({ api, show }, id: string) => {
        const answer = await (await api.issuers[":id"].test.$post({ param: { id } })).json()
        show(answer, () => `issuer ${id} can be used`)
      }),
    )
  addRoots(group, cli)
}

export const addTargets = (program: Command, cli: Cli): void => {
  apiCommand(addResource(program, cli, targets), "test", "test whether a target's agent could deploy")
    .argument("<id>", "id of the target", idArgument)
    .action(
      calling(cli, async ({ api, show }, id: string) => {
        const answer = await (await api.targets[":id"].test.$post({ param: { id } })).json()
        show(answer, () => `${answer.status}: ${answer.message}`)
        if (answer.status !== "success") {
          note(`target ${id} could not be deployed to now`)
          cli.finish(1)
        }
      }),
    )
}

export const addTeams = (program: Command, cli: Cli): void => void addResource(program, cli, teams)
export const addOwners = (program: Command, cli: Cli): void => void addResource(program, cli, owners)
export const addProfiles = (program: Command, cli: Cli): void => void addResource(program, cli, profiles)
export const addRenewalPolicies = (program: Command, cli: Cli): void => {
  addResource(program, cli, renewalPolicies).alias("policies")
}
