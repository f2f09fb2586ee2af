/** The rows of the dataset, as one INSERT … SELECT per table in either dialect. */

export type Dialect = "sqlite" | "postgres"

export interface Sizes {
  readonly certificates: number
  readonly auditEvents: number
  readonly agents: number
  readonly targets: number
  readonly jobs: number
  readonly notifications: number
  readonly violations: number
  readonly discovered: number
  readonly scans: number
  readonly observations: number
  readonly healthChecks: number
}

const teams = 50
const owners = 500
const issuers = 12
const profiles = 10
const rules = 20
const day = 86_400_000
const year = 365 * day

/** A number below `limit` that looks random; another `salt` gives another one. */
const random = (limit: number, salt: number, i = "i") =>
  `((${i} * ${2_654_435_761 + salt * 7_919} + ${salt * 104_729}) % 1000003 % ${limit})`

/** SQL that gives one of the values, each with its share of a thousand. */
const oneOf = (salt: number, shares: Readonly<Record<string, number>>): string => {
  const values = Object.keys(shares)
  const sums = values.map((_, place) =>
    values.slice(0, place + 1).reduce((sum, value) => sum + (shares[value] ?? 0), 0),
  )
  const cases = values.map((value, place) => `when r < ${sums[place]} then ${value}`)
  return `(select case ${cases.join(" ")} else ${values[0]} end from (select ${random(1000, salt)} as r) x)`
}

export const rowsOf = (dialect: Dialect, n: Sizes): { table: string; text: string }[] => {
  const isSqlite = dialect === "sqlite"
  const now = Date.now()
  const time = (ms: string) => (isSqlite ? `cast(${ms} as integer)` : `to_timestamp((${ms}) / 1000.0)`)
  const noTime = isSqlite ? "null" : "null::timestamptz"
  const bool = (value: boolean) => (isSqlite ? (value ? "1" : "0") : String(value))
  const numbers = (count: number) =>
    isSqlite
      ? `(with recursive s(i) as (select 1 union all select i + 1 from s where i < ${count}) select i from s) s`
      : `(select generate_series(1, ${count})::bigint as i) s`
  const id = (prefix: string, i = "i") =>
    isSqlite ? `printf('${prefix}%022d', ${i})` : `'${prefix}' || lpad((${i})::text, 22, '0')`
  // 64 digits that grow with `i`: an index that is filled in order is made ten times as fast.
  const hex = (i: string) =>
    isSqlite
      ? `printf('%08x', ${i}) || lower(hex(randomblob(28)))`
      : `lpad(to_hex(${i}), 8, '0') || md5('a' || ${i}) || substr(md5('b' || ${i}), 1, 24)`
  // About what a leaf and an intermediate of P-256 come to. SQLite makes it up; PostgreSQL, told not to compress it, repeats a digest.
  const letters = isSqlite ? "hex(randomblob(950))" : "repeat(md5(i::text), 60)"
  const pem = `'-----BEGIN CERTIFICATE-----' || ${letters} || '-----END CERTIFICATE-----'`
  const asItIs = (storage: string) => `alter table certificate_versions alter column pem_chain set storage ${storage}`

  const insert = (table: string, count: number, columns: Readonly<Record<string, string>>) => ({
    table,
    text: `insert into ${table} (${Object.keys(columns).join(", ")}) select ${Object.values(columns).join(", ")} from ${numbers(count)}`,
  })
  const certificate = (salt: number) => id("mc-", `1 + ${random(1_000_000, salt)} % ${n.certificates}`)
  const agent = (salt: number) => id("agent-", `1 + ${random(n.agents, salt)}`)
  const stamps = { created_at: time(`${now - 3 * year}`), updated_at: time(`${now - year}`) }
  const created = `${now - 3 * year} + i * ${Math.floor((3 * year) / n.certificates)}`
  const recent = (salt: number, span: number) => `${now} - ${random(1_000_000, salt)} * ${Math.floor(span / 1_000_000)}`
  const statusOf = oneOf(1, {
    "'Active'": 880,
    "'Expiring'": 40,
    "'Expired'": 5,
    "'Failed'": 5,
    "'RenewalInProgress'": 2,
    "'Pending'": 3,
    "'Revoked'": 15,
    "'Archived'": 50,
  })
  // From the status, which the columns repeat: 32 to 397 days for what is active, a few of them already nearer.
  const expiresOf = `case ${statusOf} when 'Pending' then null when 'Failed' then null
    when 'Expiring' then ${now} + ${random(30 * 1440, 2)} * 60000 when 'Expired' then ${now} - ${random(60 * 1440, 3)} * 60000
    when 'Revoked' then ${now} + (${random(300 * 1440, 4)} - 144000) * 60000 when 'Archived' then ${now} - ${random(700 * 1440, 5)} * 60000
    else ${now} + (${random(365 * 1440, 6)} + case when ${random(200, 7)} = 0 then 1440 else 46080 end) * 60000 end`
  const isTargeted = "case when i % 5 = 0 then 0 else 1 end"

  return [
    ...(isSqlite ? [] : [{ table: "certificate_versions (not compressed)", text: asItIs("external") }]),
    insert("teams", teams, { id: id("t-"), name: "'Team ' || i", ...stamps }),
    insert("owners", owners, {
      id: id("o-"),
      name: "'Owner ' || i",
      email: "'owner' || i || '@example.com'",
      team_id: id("t-", `1 + i % ${teams}`),
      ...stamps,
    }),
    insert("certificate_profiles", profiles, {
      id: id("prof-"),
      name: "'Profile ' || i",
      allowed_key_algorithms: "'[]'",
      allowed_ekus: "'[]'",
      required_san_patterns: "'[]'",
      required_csr_attributes: "'[]'",
      ...stamps,
    }),
    insert("renewal_policies", 6, {
      id: id("rp-"),
      name: "'Policy ' || i",
      renewal_window_days: "30",
      auto_renew: `case when i = 6 then ${bool(false)} else ${bool(true)} end`,
      alert_thresholds_days: "'[30,14,7,1]'",
      alert_channels: "'{}'",
      alert_severity_map: "'{}'",
      ...stamps,
    }),
    insert("issuers", issuers, {
      id: id("iss-"),
      name: "'Issuer ' || i",
      type: "'GenericCA'",
      config: "'{}'",
      enabled: bool(false),
      ...stamps,
    }),
    insert("agents", n.agents, {
      id: id("agent-"),
      name: "'host' || i || '.example.com'",
      hostname: "'host' || i",
      status: oneOf(11, { "'Online'": 980, "'Offline'": 20 }),
      last_heartbeat_at: time(`case when ${random(50, 12)} = 0 then ${now - day} else ${now} end`),
      registered_at: time(recent(13, year)),
      api_key_hash: hex("i"),
      os: oneOf(14, { "'linux'": 800, "'windows'": 200 }),
      architecture: "'amd64'",
      ip_address: "'10.0.' || (i / 250) || '.' || (i % 250)",
      version: "'1.0.0'",
    }),
    insert("deployment_targets", n.targets, {
      id: id("tgt-"),
      name: "'target ' || i",
      type: oneOf(15, { "'NGINX'": 700, "'Apache'": 300 }),
      agent_id: id("agent-", `1 + i % ${n.agents}`),
      config: "'{}'",
      ...stamps,
    }),
    insert("managed_certificates", n.certificates, {
      id: id("mc-"),
      name: "'service-' || i",
      common_name: `'host' || ${random(900_000, 16)} || '.' || ${oneOf(17, { "'prod'": 600, "'stage'": 400 })} || '.example.com'`,
      sans: `'["host' || ${random(900_000, 16)} || '.example.com","www.host' || i || '.example.com"]'`,
      environment: oneOf(18, { "'production'": 600, "'staging'": 250, "'development'": 100, "'test'": 50 }),
      owner_id: id("o-", `1 + ${random(owners, 19)}`),
      // Nearly always the owner's team.
      team_id: id(
        "t-",
        `1 + (1 + ${random(owners, 19)} + case when ${random(20, 20)} = 0 then 7 else 0 end) % ${teams}`,
      ),
      issuer_id: id("iss-", `1 + ${random(2, 21)} * ${random(issuers, 22)}`),
      renewal_policy_id: id(
        "rp-",
        `1 + ${random(5, 23)} + case when ${random(100, 24)} = 0 then 5 - ${random(5, 23)} else 0 end`,
      ),
      certificate_profile_id: `case when ${random(20, 25)} = 0 then null else ${id("prof-", `1 + ${random(profiles, 26)}`)} end`,
      status: statusOf,
      expires_at: time(expiresOf),
      renew_at: time(`${expiresOf} - ${30 * day}`),
      tags: `'{"app":"app' || ${random(300, 27)} || '"}'`,
      source: oneOf(28, { "''": 900, "'EST'": 60, "'ACME'": 40 }),
      created_at: time(created),
      updated_at: time(recent(29, year)),
    }),
    insert("certificate_target_mappings", n.certificates, {
      certificate_id: id("mc-"),
      target_id: id("tgt-", `1 + ${random(n.targets, 30)}`),
    }),
    {
      table: "certificate_target_mappings (some go nowhere)",
      text: `delete from certificate_target_mappings where certificate_id in (select ${id("mc-")} from ${numbers(n.certificates)} where ${isTargeted} = 0)`,
    },
    insert("certificate_versions", 3 * n.certificates, {
      id: id("cv-"),
      certificate_id: id("mc-", "1 + (i - 1) / 3"),
      serial_number: `substr(${hex("i")}, 1, 32)`,
      not_before: time(`${now} - (2 - i % 3) * ${90 * day} - ${80 * day}`),
      not_after: time(`${now} - (2 - i % 3) * ${90 * day} + ${random(300, 31)} * ${day}`),
      fingerprint_sha256: hex("i"),
      pem_chain: pem,
      key_algorithm: "'ECDSA'",
      key_size: "256",
      issuer_id: id("iss-", `1 + ((i - 1) / 3) % ${issuers}`),
      agent_id: id("agent-", `1 + ((i - 1) / 3) % ${n.agents}`),
      created_at: time(`${now} - (2 - i % 3) * ${90 * day} - ${80 * day}`),
    }),
    insert("jobs", n.jobs, {
      id: id("job-"),
      type: oneOf(40, { "'Deployment'": 550, "'Renewal'": 400, "'Issuance'": 50 }),
      certificate_id: id("mc-", `1 + (i * 1000003) % ${n.certificates}`),
      target_id: `case when ${oneOf(40, { "1": 550, "0": 450 })} = 1 then ${id("tgt-", `1 + ${random(n.targets, 41)}`)} end`,
      agent_id: agent(42),
      status: oneOf(43, {
        "'Completed'": 935,
        "'Failed'": 30,
        "'Pending'": 10,
        "'Running'": 5,
        "'AwaitingCSR'": 8,
        "'AwaitingApproval'": 2,
        "'Cancelled'": 10,
      }),
      attempts: "3",
      last_error: `case when ${oneOf(43, { "0": 935, "1": 65 })} = 1 then 'connection refused' end`,
      hold: `case when ${oneOf(43, { "0": 965, "1": 35 })} = 1 then 'bench' end`,
      status_since: time(`${now} - (${n.jobs} - i) * ${Math.floor((90 * day) / n.jobs)}`),
      scheduled_at: time(`${now} - (${n.jobs} - i) * ${Math.floor((90 * day) / n.jobs)}`),
      completed_at: `case when ${oneOf(43, { "1": 965, "0": 35 })} = 1 then ${time(`${now} - (${n.jobs} - i) * ${Math.floor((90 * day) / n.jobs)}`)} else ${noTime} end`,
      created_at: time(`${now} - (${n.jobs} - i) * ${Math.floor((90 * day) / n.jobs)} - 60000`),
    }),
    insert("observations", n.observations, {
      id: id("obs-"),
      certificate_id: id("mc-", `1 + i % ${n.certificates}`),
      target_id: id("tgt-", `1 + ${random(n.targets, 44)}`),
      kind: oneOf(45, { "'served'": 500, "'delivered'": 300, "'trusted'": 200 }),
      fingerprint: hex("i"),
      ok: `case when ${random(200, 46)} = 0 then ${bool(false)} else ${bool(true)} end`,
      observer: agent(47),
      observed_at: time(recent(48, 7 * day)),
    }),
    insert("policy_rules", rules, {
      id: id("pol-"),
      name: "'Rule ' || i",
      type: "'AllowedDomains'",
      config: "'{}'",
      enabled: bool(false),
      ...stamps,
    }),
    insert("policy_violations", n.violations, {
      id: id("v-"),
      certificate_id: id("mc-", `1 + (i * 1000003) % ${n.certificates}`),
      rule_id: id("pol-", `1 + i % ${rules}`),
      message: "'the domain is not allowed'",
      severity: "'Error'",
      created_at: time(recent(49, year)),
    }),
    insert("notification_events", n.notifications, {
      id: id("notif-"),
      type: oneOf(50, { "'ExpirationWarning'": 600, "'RenewalSuccess'": 300, "'RenewalFailure'": 100 }),
      certificate_id: certificate(51),
      channel: oneOf(52, { "'Email'": 600, "'Slack'": 300, "'Webhook'": 100 }),
      recipient: "'owner@example.com'",
      message: "'expires soon: host' || i || '.example.com'",
      status: oneOf(53, { "'sent'": 955, "'read'": 20, "'dead'": 25 }),
      sent_at: `case when ${oneOf(53, { "1": 975, "0": 25 })} = 1 then ${time(recent(54, 90 * day))} else ${noTime} end`,
      created_at: time(recent(54, 90 * day)),
    }),
    insert("discovery_scans", n.scans, {
      id: id("ds-"),
      agent_id: agent(55),
      directories: `'["/etc/ssl"]'`,
      certificates_found: "4",
      started_at: time(recent(56, 90 * day)),
      completed_at: time(recent(56, 90 * day)),
    }),
    insert("discovered_certificates", n.discovered, {
      id: id("dc-"),
      fingerprint_sha256: hex("i"),
      common_name: "'found' || i || '.example.com'",
      sans: "'[]'",
      serial_number: `substr(${hex("i")}, 1, 32)`,
      issuer_dn: "'CN=Some CA'",
      subject_dn: "'CN=found'",
      not_before: time(recent(57, year)),
      not_after: time(`${now} + ${random(365, 58)} * ${day}`),
      source_path: "'/etc/ssl/' || i",
      agent_id: id("agent-", `1 + i % ${n.agents}`),
      status: oneOf(59, { "'Unmanaged'": 700, "'Managed'": 250, "'Dismissed'": 50 }),
      first_seen_at: time(recent(57, year)),
      last_seen_at: time(recent(60, day)),
      created_at: time(recent(57, year)),
      updated_at: time(recent(60, day)),
    }),
    insert("endpoint_health_checks", n.healthChecks, {
      id: id("hc-"),
      endpoint: "'host' || i || '.example.com:443'",
      certificate_id: id("mc-"),
      status: oneOf(61, { "'healthy'": 950, "'degraded'": 30, "'down'": 20 }),
      enabled: bool(false),
      ...stamps,
    }),
    insert("audit_events", n.auditEvents, {
      id: id("audit-"),
      actor: `case when ${random(10, 70)} < 3 then 'scheduler' when ${random(10, 70)} < 7 then 'user' || ${random(50, 71)} else ${agent(72)} end`,
      actor_type: `case when ${random(10, 70)} < 3 then 'System' when ${random(10, 70)} < 7 then 'User' else 'Agent' end`,
      action: `case when ${random(10, 70)} < 7 then ${oneOf(73, { "'api_get'": 400, "'certificate_updated'": 200, "'certificate_renewed'": 200, "'job_completed'": 150, "'certificate_created'": 45, "'issuer_updated'": 5 })} else 'api_get' end`,
      resource_type: `case when ${random(10, 70)} < 7 then ${oneOf(73, { "'api'": 400, "'certificate'": 400, "'job'": 150, "'certificate' ": 45, "'issuer'": 5 })} else 'api' end`,
      resource_id: certificate(74),
      details: `'{"method":"GET","path":"/api/v1/certificates","status":200,"duration_ms":3}'`,
      timestamp: time(`${now} - (${n.auditEvents} - i) * ${Math.floor(year / n.auditEvents)}`),
    }),
    insert("audit_leaves", n.auditEvents, { seq: "i", event_id: id("audit-"), leaf_hash: hex("i") }),
    ...(isSqlite ? [] : [{ table: "certificate_versions (compressed again)", text: asItIs("extended") }]),
  ]
}
