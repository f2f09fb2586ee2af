/**
 * One certificate: a sentence that says how it stands, the proof per target behind that sentence, then its life,
 * versions and history.
 */
import { auditList, jobsTable } from "../parts/activity"
import { badge, toneBadge, toneMark } from "../parts/badge"
import { askDialog, askLink, type Question } from "../parts/confirm"
import { copyable } from "../parts/copyable"
import { decisionDialogs, decisionLinks, decisionObstacle } from "../parts/decision"
import { seal } from "../parts/evidence"
import { headlineOf, type Standing } from "../parts/headline"
import { icon } from "../parts/icon"
import { type Frame, layout, live, mayWork } from "../parts/layout"
import { lifetimeBar } from "../parts/lifetime"
import { breakable, html, type Markup } from "../parts/markup"
import { empty, facts, panel } from "../parts/panel"
import { type Column, dataTable } from "../parts/table"
import { dateOf, dateText, relativeText, timeAgo } from "../parts/time"
import {
  archiveQuestion,
  deployVersionQuestion,
  forceRenewQuestion,
  pkcs12Question,
  revokeQuestion,
} from "./certificate.questions"
import type { ApprovalRow, AuditRow, JobRow, Named } from "./views"

export interface VersionRow {
  readonly id: string
  readonly serial: string
  readonly fingerprint: string
  readonly notBefore: Date
  readonly notAfter: Date
  readonly key: string
  readonly agent: Named | null
  /** The newest of its agent. */
  readonly isCurrent: boolean
  /** An earlier one that could be put back: still valid, and its agent serves a target. */
  readonly isDeployable: boolean
  readonly createdAt: Date
}

export interface LifeStep {
  readonly name: "Requested" | "Issued" | "Deploying" | "Verified" | "Active"
  readonly state: "done" | "running" | "failed" | "waiting"
  readonly at: Date | null
  readonly jobId: string | null
  readonly error: string | null
}

export interface CertificateView extends Standing {
  readonly id: string
  readonly name: string
  readonly commonName: string
  readonly sans: readonly string[]
  readonly environment: string
  readonly issuer: Named | null
  readonly owner: Named | null
  readonly team: Named | null
  readonly profile: (Named & { readonly maxTtlWords: string | null }) | null
  readonly renewalPolicy: (Named & { readonly windowDays: number }) | null
  readonly source: string | null
  readonly tags: Readonly<Record<string, string>>
  readonly lastRenewalAt: Date | null
  readonly lastDeploymentAt: Date | null
  readonly revocationReason: string | null
  readonly createdAt: Date
  readonly updatedAt: Date
}

export interface CertificateProps {
  readonly frame: Frame
  readonly certificate: CertificateView
  readonly steps: readonly LifeStep[]
  /** Newest first. */
  readonly versions: readonly VersionRow[]
  readonly jobs: readonly JobRow[]
  /** The newest request that waits for a decision about an issuance; null when none does. */
  readonly approval: ApprovalRow | null
  readonly audit: readonly AuditRow[]
  readonly revocationUrls: { readonly crl: string | null; readonly ocsp: string | null }
}

const isClosed = ({ status }: CertificateView): boolean => status === "Archived" || status === "Revoked"

const actions = ({ frame, certificate, versions }: CertificateProps): Markup => {
  const { id } = certificate
  const issued = versions.length > 0
  const work = mayWork(frame) && !isClosed(certificate)
  const canDeploy = issued && certificate.targets.some(({ target }) => !target.retired)
  return html`
    ${work && issued ? askLink(revokeQuestion(certificate), `/certificates/${id}/revoke`, { label: "Revoke", icon: "revoke" }) : null}
    ${mayWork(frame) && certificate.status !== "Archived" ? askLink(archiveQuestion(certificate), `/certificates/${id}/archive`, { label: "Archive", icon: "archive" }) : null}
    ${work && canDeploy ? html`<form method="post" action=${`/certificates/${id}/deploy`}><button class="button" title="Deploy the current version to every target again">${icon("deploy")}Deploy</button></form>` : null}
    ${
      !work || certificate.renewal.kind === "client"
        ? null
        : certificate.status === "RenewalInProgress"
          ? askLink(forceRenewQuestion(certificate), `/certificates/${id}/renew`, {
              label: "Renew again",
              icon: "refresh",
            })
          : html`<form method="post" action=${`/certificates/${id}/renew`}><button class="button primary">${icon("refresh")}${issued ? "Renew" : "Issue"}</button></form>`
    }`
}

const exportLinks = ({ frame, certificate, versions }: CertificateProps): Markup =>
  versions.length === 0
    ? null
    : html`<a class="button small" href=${`/certificates/${certificate.id}/export.pem`} download>${icon("download")}PEM</a>${
        mayWork(frame)
          ? html` <a class="button small" href=${`/certificates/${certificate.id}/export.p12`} data-dialog=${pkcs12Question(certificate).id}>${icon("download")}PKCS#12</a>`
          : null
      }`

const renewalPoint = ({ renewal, expiresAt }: CertificateView, now: Date): Markup => {
  switch (renewal.kind) {
    case "automatic":
      return renewal.at.getTime() <= now.getTime()
        ? html`<b>Renewal is due</b> and starts by itself`
        : html`<b>Renews by itself ${relativeText(renewal.at, now)}</b>, on ${dateOf(renewal.at, now)}`
    case "approval":
      return html`<b>Renewal asked for ${relativeText(renewal.at, now)}</b>; its policy wants somebody to approve it`
    case "manual":
      return expiresAt === null
        ? "Renews only by hand"
        : html`<b>Does not renew by itself</b>: renew by hand before ${dateOf(expiresAt, now)}`
    case "client":
      return html`<b>Renewed by its ${renewal.protocol} client</b>, not by certctl`
    case "none":
      return null
  }
}

const headline = ({ frame: { now }, certificate, versions }: CertificateProps): Markup => {
  const { tone, sentence } = headlineOf(certificate, now)
  const current = versions.find(({ isCurrent }) => isCurrent)
  return html`<section class=${`headline tone-${tone}`} aria-label="How it stands">
    ${toneMark(tone)}
    <div class="headline-words"><p class="headline-sentence">${sentence}</p><p class="headline-renewal">${renewalPoint(certificate, now)}</p></div>
    ${
      current === undefined || isClosed(certificate)
        ? null
        : lifetimeBar(
            {
              notBefore: current.notBefore,
              notAfter: certificate.expiresAt ?? current.notAfter,
              renewAt: "at" in certificate.renewal ? certificate.renewal.at : null,
            },
            now,
          )
    }
  </section>`
}

const decision = ({ frame, approval }: CertificateProps): Markup => {
  if (approval === null) return null
  const obstacle = decisionObstacle(frame, approval)
  return html`<div class="notice tone-attention">${toneMark("attention")}<p><a href=${`/approvals/${approval.id}`}>An issuance</a> that ${approval.requestedBy ?? "the schedule"} asked for ${timeAgo(approval.createdAt, frame.now)} waits for another person to approve it.${obstacle === null ? "" : ` ${obstacle}`}</p>
    <span class="row-actions">${decisionLinks(frame, approval, true)}</span></div>`
}

const stepWords = { done: "done", running: "under way", failed: "failed", waiting: "not yet" } as const

const lifeCycle = ({ frame: { now }, steps }: CertificateProps): Markup =>
  html`<ol class="steps">${steps.map(
    (step) => html`<li class=${`step step-${step.state}`}>
      <span class="step-mark">${step.state === "done" ? icon("check") : step.state === "failed" ? icon("close") : null}</span>
      <span class="step-words"><b>${step.jobId === null ? step.name : html`<a href=${`/jobs/${step.jobId}`}>${step.name}</a>`}</b><span class="visually-hidden">: ${stepWords[step.state]}</span>
      <span class="sub">${step.at === null ? stepWords[step.state] : timeAgo(step.at, now)}</span>${step.error === null ? null : html`<span class="step-error" title=${step.error}>${step.error}</span>`}</span>
    </li>`,
  )}</ol>`

const targetRows = ({ frame, certificate }: CertificateProps): Markup => {
  const { now } = frame
  if (certificate.targets.length === 0) {
    return empty({
      icon: "target",
      title: "No target",
      text: "Nothing is deployed anywhere, so nothing can be seen or verified. Map a target to have it delivered.",
    })
  }
  return html`<ul class="places">${certificate.targets.map((entry) => {
    const { target, agent, lastDeployment } = entry
    const quietAgent = agent !== null && agent.health !== "Online"
    const remarks = [entry.delivered, entry.served, entry.trusted].flatMap((seen) =>
      seen?.state === "mismatch" && seen.detail !== "" ? [seen.detail] : [],
    )
    return html`<li data-key=${target.id} class=${target.retired ? "retired" : undefined}>
      <div class="place-head"><b>${target.name}</b>${target.retired ? badge({ status: "Retired" }) : null}<span class="sub">${target.type}${target.endpoint === null ? "" : ` · ${target.endpoint}`}</span>
        <span class="sub">${agent === null ? "no agent" : html`agent <a href=${`/agents/${agent.id}`}>${agent.name}</a>${quietAgent ? html` ${badge({ status: agent.health })}` : null}`}${
          lastDeployment === null
            ? " · never deployed"
            : html` · <a href=${`/jobs/${lastDeployment.jobId}`}>${lastDeployment.status === "Completed" ? "deployed" : `deployment ${lastDeployment.status.toLowerCase()}`}</a> ${timeAgo(lastDeployment.at, now)}`
        }</span></div>
      <div class="seals">${seal("delivered", entry.delivered, now)}${seal("served", entry.served, now)}${entry.trusted === null ? null : seal("trusted", entry.trusted, now)}</div>
      ${remarks.map((detail) => html`<p class="place-remark">${detail}</p>`)}
      ${
        mayWork(frame) && !isClosed(certificate) && !target.retired && certificate.expiresAt !== null
          ? html`<form class="place-action" method="post" action=${`/certificates/${certificate.id}/deploy`}><input type="hidden" name="target_id" value=${target.id} /><button class="button quiet" aria-label=${`Deploy to ${target.name}`}>Deploy</button></form>`
          : null
      }
    </li>`
  })}</ul>`
}

const versionColumns = ({ frame, certificate }: CertificateProps): Column<VersionRow>[] => {
  const { now } = frame
  const mayDeploy = mayWork(frame) && !isClosed(certificate)
  return [
    {
      head: "Serial",
      className: "lead",
      cell: (version) =>
        html`<span class="stacked"><code class="clip" title=${version.serial}>${version.serial}</code><span class="sub">${version.key}, ${version.agent === null ? "key on the server" : `key on ${version.agent.name}`}</span><span class="sub" title=${version.fingerprint}>SHA-256 <code>${version.fingerprint.slice(0, 16)}…</code></span></span>`,
    },
    {
      head: "Valid",
      cell: (version) =>
        html`<span class="stacked"><span>${dateText(version.notBefore, now)} – ${dateText(version.notAfter, now)}</span><span class="sub">${version.notAfter.getTime() > now.getTime() ? "expires" : "expired"} ${relativeText(version.notAfter, now)}</span></span>`,
    },
    {
      head: "State",
      cell: (version) =>
        version.isCurrent
          ? toneBadge({ tone: "good", word: "Current" })
          : html`<span class="stacked"><span class="muted">replaced</span>${
              mayDeploy && version.isDeployable
                ? askLink(
                    deployVersionQuestion(certificate, version, now),
                    `/certificates/${certificate.id}/deploy?version_id=${version.id}`,
                    { label: "Deploy this version", className: "small" },
                  )
                : null
            }</span>`,
    },
  ]
}

const details = ({ certificate, versions }: CertificateProps): Markup => {
  const current = versions.find(({ isCurrent }) => isCurrent)
  return facts([
    ["Status", badge({ status: certificate.status })],
    ["Reason", certificate.status === "Revoked" ? certificate.revocationReason : null],
    [
      "Names",
      html`<ul class="names">${certificate.sans.map((san) => html`<li>${copyable(san, "name", breakable(san))}</li>`)}</ul>`,
    ],
    ["Id", copyable(certificate.id, "id")],
    ["Issuer", certificate.issuer?.name ?? null],
    ["Key", current?.key ?? null],
    ["Serial", current === undefined ? null : copyable(current.serial, "serial number")],
    ["SHA-256", current === undefined ? null : copyable(current.fingerprint, "fingerprint")],
    ["Source", certificate.source],
  ])
}

const ownership = ({ frame: { now }, certificate }: CertificateProps): Markup =>
  facts([
    ["Owner", certificate.owner?.name ?? "nobody"],
    ["Team", certificate.team?.name ?? null],
    ["Environment", certificate.environment === "" ? null : certificate.environment],
    [
      "Renewal policy",
      certificate.renewalPolicy === null
        ? "none"
        : `${certificate.renewalPolicy.name} (${certificate.renewalPolicy.windowDays} d window)`,
    ],
    [
      "Profile",
      certificate.profile === null
        ? null
        : `${certificate.profile.name}${certificate.profile.maxTtlWords === null ? "" : `, max ${certificate.profile.maxTtlWords}`}`,
    ],
    ["Renewed", timeAgo(certificate.lastRenewalAt, now)],
    ["Deployed", timeAgo(certificate.lastDeploymentAt, now)],
    ["Created", timeAgo(certificate.createdAt, now)],
    ["Changed", timeAgo(certificate.updatedAt, now)],
    [
      "Tags",
      Object.keys(certificate.tags).length === 0
        ? null
        : html`<ul class="chips">${Object.entries(certificate.tags).map(([key, value]) => html`<li>${key}${value === "" ? "" : `=${value}`}</li>`)}</ul>`,
    ],
  ])

const questions = ({ frame, certificate, versions }: CertificateProps): Question[] =>
  mayWork(frame)
    ? [
        archiveQuestion(certificate),
        forceRenewQuestion(certificate),
        ...(isClosed(certificate) ? [] : versions)
          .filter(({ isDeployable }) => isDeployable)
          .map((version) => deployVersionQuestion(certificate, version, frame.now)),
        ...(isClosed(certificate) ? [] : [revokeQuestion(certificate)]),
        ...(versions.length === 0 ? [] : [pkcs12Question(certificate)]),
      ]
    : []

export const certificatePage = (props: CertificateProps): Markup => {
  const { frame, certificate, versions, jobs, audit, revocationUrls } = props
  return layout(
    frame,
    {
      title: certificate.commonName,
      heading: html`<span class="break">${breakable(certificate.commonName)}</span>`,
      subtitle: certificate.name === certificate.commonName ? undefined : certificate.name,
      up: { label: "Certificates", href: "/certificates" },
      actions: actions(props),
      live: { intervalSeconds: 15 },
    },
    html`${live(
      "certificate",
      html`
        ${headline(props)}${decision(props)}
        <div class="grid aside">
          <div class="main-column">
            ${panel({ title: "Where it is", flush: true }, targetRows(props))}
            ${panel({ title: "Life cycle" }, lifeCycle(props))}
            ${panel(
              { title: "Versions", flush: true, actions: exportLinks(props) },
              versions.length === 0
                ? empty({
                    icon: "certificate",
                    title: "Nothing issued yet",
                    text: "The first version appears here once the issuer has signed it.",
                  })
                : dataTable({
                    caption: "Versions",
                    columns: versionColumns(props),
                    rows: versions,
                    rowId: (version) => version.id,
                  }),
            )}
            ${panel(
              {
                title: "Jobs",
                flush: true,
                actions: html`<a href=${`/jobs?certificate_id=${certificate.id}`}>All jobs</a>`,
              },
              jobs.length === 0
                ? empty({
                    icon: "job",
                    title: "No jobs yet",
                    text: "Issuing, renewing and deploying leave a job here.",
                  })
                : jobsTable(jobs, frame.now, ["certificate"]),
            )}
            ${panel({ title: "Audit trail", actions: html`<a href=${`/audit?resource_id=${certificate.id}`}>All events</a>` }, auditList(audit, frame.now))}
          </div>
          <div class="side-column">
            ${panel({ title: "Details" }, details(props))}
            ${panel({ title: "Life and ownership", id: "ownership" }, ownership(props))}
            ${
              revocationUrls.crl === null && revocationUrls.ocsp === null
                ? null
                : panel(
                    { title: "Revocation" },
                    facts([
                      ["CRL", revocationUrls.crl === null ? null : copyable(revocationUrls.crl, "CRL address")],
                      ["OCSP", revocationUrls.ocsp === null ? null : copyable(revocationUrls.ocsp, "OCSP address")],
                    ]),
                  )
            }
          </div>
        </div>`,
    )}${questions(props).map(askDialog)}${props.approval === null ? null : decisionDialogs(frame, props.approval)}`,
  )
}
