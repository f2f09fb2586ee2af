/** Connecting an agent: asks for a join token and shows, once, the commands that use it. */

import { toneMark } from "../parts/badge"
import { commandBox } from "../parts/copyable"
import { selectField } from "../parts/form"
import { type Frame, layout } from "../parts/layout"
import { html, type Markup } from "../parts/markup"
import { absoluteText, durationText } from "../parts/time"

export interface AgentJoinProps {
  readonly frame: Frame
  /** The address under which agents reach this server. */
  readonly serverUrl: string
  /** Just made, and in no other answer ever again. */
  readonly created: { readonly token: string; readonly expiresAt: Date } | null
}

const lifetimes = [
  { value: "900", label: "15 minutes" },
  { value: "3600", label: "1 hour" },
  { value: "86400", label: "1 day" },
  { value: "604800", label: "7 days" },
]

const asked: Markup = html`<form method="post" action="/agents/join" class="panel narrow"><div class="panel-body">
  <p>A join token lets one agent register. It works once, proves the server to the agent, and the agent makes its own key: nothing secret has to be copied afterwards.</p>
  ${selectField({ id: "ttl", name: "ttl_seconds", label: "The token works for", options: lifetimes, value: "3600", required: true })}
  <div class="form-actions"><a class="button" href="/agents">Cancel</a><button class="button primary">Make a join token</button></div>
</div></form>`

const shown = ({ frame: { now }, serverUrl, created }: AgentJoinProps): Markup => {
  if (created === null) return null
  const join = `certctl agent join --server ${serverUrl} --token ${created.token}`
  return html`<div class="stack">
    <div class="notice tone-attention" role="status">${toneMark("attention")}<p>This token is shown once. It works for ${durationText(created.expiresAt.getTime() - now.getTime())}, until ${absoluteText(created.expiresAt)}, and for one agent.</p></div>
    <section class="panel" aria-labelledby="unix-heading"><header class="panel-head"><h2 id="unix-heading">Linux and macOS</h2></header><div class="panel-body">
      <p>On the host, as root, with the <code>certctl</code> executable in place:</p>
      ${commandBox(`${join} && certctl agent`, "command for Linux and macOS")}
    </div></section>
    <section class="panel" aria-labelledby="windows-heading"><header class="panel-head"><h2 id="windows-heading">Windows</h2></header><div class="panel-body">
      <p>In an elevated PowerShell:</p>
      ${commandBox(`${join.replace("certctl", ".\\certctl.exe")}; if ($?) { .\\certctl.exe agent }`, "command for Windows")}
    </div></section>
    <section class="panel" aria-labelledby="token-heading"><header class="panel-head"><h2 id="token-heading">The token alone</h2></header><div class="panel-body">
      <p>For scripts: in <code>CERTCTL_JOIN_TOKEN</code> or on standard input, so that it does not appear in a process list.</p>
      ${commandBox(created.token, "join token")}
    </div></section>
    <p><a class="button primary" href="/agents">Done: watch it appear</a></p>
  </div>`
}

export const agentJoinPage = (props: AgentJoinProps): Markup =>
  layout(
    props.frame,
    { title: "Connect an agent", up: { label: "Agents", href: "/agents" } },
    props.created === null ? asked : shown(props),
  )
