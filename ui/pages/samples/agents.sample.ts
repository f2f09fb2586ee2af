/** Agents: the lists, one of them, joining and retiring. */
import type { Frame } from "../../parts/layout"
import { type AgentProps, agentPage, retireQuestion } from "../agent.page"
import { agentJoinPage } from "../agent-join.page"
import { type AgentRow, agentsPage } from "../agents.page"
import { confirmPage } from "../confirm.page"
import { fingerprint, jobs } from "./activity.sample"
import { ago, ahead, at, DAY, list, MINUTE, noRows, type Samples } from "./frame.sample"

const agentRow = (name: string, changes: Partial<AgentRow> = {}): AgentRow => ({
  id: `agent-${name}`,
  name,
  hostname: `${name}.dc1.example.com`,
  health: "Online",
  os: "linux",
  architecture: "x64",
  ipAddress: "10.2.0.11",
  version: "0.1.0",
  lastHeartbeatAt: ago(20_000),
  builtIn: false,
  certificateCount: 12,
  firstExpiryAt: ahead(9),
  retiredAt: null,
  retiredReason: null,
  ...changes,
})

const silentAgent = agentRow("edge-3", { health: "Offline", lastHeartbeatAt: ago(5 * 3_600_000), certificateCount: 5 })
const retiredAgent = agentRow("edge-0", {
  health: "Retired",
  retiredAt: ago(30 * DAY),
  retiredReason: "replaced by edge-3",
  certificateCount: 0,
})
const agentRows = [
  agentRow("edge-1"),
  agentRow("edge-2"),
  silentAgent,
  agentRow("win-iis-1", { os: "windows", health: "Stale", lastHeartbeatAt: ago(8 * MINUTE) }),
  agentRow("server-scanner", {
    builtIn: true,
    hostname: "this server",
    os: "",
    architecture: "",
    ipAddress: "",
    certificateCount: 0,
    firstExpiryAt: null,
  }),
]

const agent = (frame: Frame, row: AgentRow): AgentProps => ({
  frame,
  agent: { ...row, registeredAt: ago(120 * DAY) },
  targets: [
    {
      id: "t-1",
      name: "edge nginx",
      type: "NGINX",
      certificates: [
        { id: "mc-shop", commonName: "shop.example.com", status: "Expiring", expiresAt: ahead(9) },
        { id: "mc-www", commonName: "www.example.com", status: "Active", expiresAt: ahead(61) },
      ],
    },
    { id: "t-2", name: "edge postfix", type: "Postfix", certificates: [] },
  ],
  jobs: jobs.slice(2, 4),
  discoveredCount: 7,
  dependencies: { activeTargets: 2, activeCertificates: 2, pendingJobs: 0 },
})

export const agentSamples: Samples = {
  agents: () =>
    agentsPage({
      frame: at("/agents"),
      state: list("/agents"),
      paging: { page: 1, pageSize: 50, total: 5 },
      tab: "active",
      rows: agentRows,
    }),
  "agents-retired": () =>
    agentsPage({
      frame: at("/agents?tab=retired"),
      state: list("/agents?tab=retired"),
      paging: { page: 1, pageSize: 50, total: 1 },
      tab: "retired",
      rows: [retiredAgent],
    }),
  "agents-empty": () =>
    agentsPage({ frame: at("/agents"), state: list("/agents"), paging: noRows, tab: "active", rows: [] }),
  agent: () => agentPage(agent(at("/agents/agent-edge-3"), silentAgent)),
  "agent-online": () =>
    agentPage({
      ...agent(at("/agents/agent-edge-1"), agentRow("edge-1")),
      targets: [],
      jobs: [],
      dependencies: { activeTargets: 0, activeCertificates: 0, pendingJobs: 0 },
    }),
  "agent-retired": () => agentPage(agent(at("/agents/agent-edge-0"), retiredAgent)),
  "agent-retire-question": () =>
    confirmPage(
      at("/agents/agent-edge-3/retire"),
      retireQuestion(silentAgent, { activeTargets: 1, activeCertificates: 2, pendingJobs: 1 }),
      { label: "edge-3", href: "/agents/agent-edge-3" },
    ),
  "agent-join": () =>
    agentJoinPage({ frame: at("/agents/join"), serverUrl: "https://certctl.example.com:8443", created: null }),
  "agent-join-shown": () =>
    agentJoinPage({
      frame: at("/agents/join"),
      serverUrl: "https://certctl.example.com:8443",
      created: { token: `jt-0195a0.${"Zm9vYmFyYmF6".repeat(4)}.${fingerprint}`, expiresAt: ahead(1 / 24) },
    }),
}
