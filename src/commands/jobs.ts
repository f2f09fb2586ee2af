/** `certctl jobs`. */
import type { Command } from "commander"
import { apiCommand, type Cli, calling, idArgument, type PageFlags, pageQuery, withPages } from "./cli"
import { day, lines, note } from "./output"
import { type Job, outcomeOf, type WaitFlags, waitFor, withWait } from "./waiting"

const jobLines = (job: Job): string =>
  lines([
    ["ID", job.id],
    ["Type", job.type],
    ["Certificate ID", job.certificate_id],
    ["Target ID", job.target_id],
    ["Agent ID", job.agent_id],
    ["Status", job.status],
    ["Attempts", job.attempts],
    ["Max Attempts", job.max_attempts],
    ["Created At", day(job.created_at)],
    ["Waits", job.hold],
    ["Last Error", job.last_error],
  ])

interface ListFlags extends PageFlags {
  readonly status?: string
  readonly type?: string
  readonly certificate?: string
  readonly target?: string
  readonly agent?: string
}

export const addJobs = (program: Command, cli: Cli): void => {
  const jobs = program.command("jobs").description("work: issuances, renewals, deployments, validations")

  withPages(
    apiCommand(jobs, "list", "list jobs, newest first")
      .option("--status <status>", "Pending, AwaitingCSR, AwaitingApproval, Running, Completed, Failed or Cancelled")
      .option("--type <type>", "Issuance, Renewal, Deployment or Validation")
      .option("--certificate <id>", "of this certificate")
      .option("--target <id>", "for this target")
      .option("--agent <id>", "of this agent"),
  ).action(
    calling(cli, async ({ api, showPage }, flags: ListFlags) => {
      const query = {
        ...pageQuery(flags),
        status: flags.status,
        type: flags.type,
        certificate_id: flags.certificate,
        target_id: flags.target,
        agent_id: flags.agent,
      }
      const page = await (await api.jobs.$get({ query })).json()
      showPage(page, ["ID", "TYPE", "CERTIFICATE", "STATUS", "ATTEMPTS"], (job) => [
        job.id,
        job.type,
        job.certificate_id,
        job.status,
        `${job.attempts}/${job.max_attempts}`,
      ])
    }),
  )

  withWait(
    apiCommand(jobs, "get", "show a job").argument("<id>", "id of the job", idArgument),
    "wait until it is over; exit code 1 when it did not succeed",
  ).action(
    calling(cli, async (session, id: string, flags: WaitFlags) => {
      const job = flags.wait
        ? await waitFor(session, id, flags.timeout)
        : await (await session.api.jobs[":id"].$get({ param: { id } })).json()
      session.show(job, () => jobLines(job))
      if (flags.wait && job.status !== "Completed") {
        note(outcomeOf(job))
        cli.finish(1)
      }
    }),
  )

  apiCommand(jobs, "cancel", "cancel a job that is not over")
    .argument("<id>", "id of the job", idArgument)
    .action(
      calling(cli, async ({ api, show }, id: string) => {
        const answer = await (await api.jobs[":id"].cancel.$post({ param: { id } })).json()
        show(answer, () => `job ${id} was cancelled`)
      }),
    )

  apiCommand(jobs, "approve", "approve a job that waits for it")
    .argument("<id>", "id of the job", idArgument)
    .action(
      calling(cli, async ({ api, show }, id: string) => {
        const answer = await (await api.jobs[":id"].approve.$post({ param: { id } })).json()
        show(answer, () => `job ${id} was approved`)
      }),
    )

  apiCommand(jobs, "reject", "reject a job that waits for approval")
    .argument("<id>", "id of the job", idArgument)
    .option("--reason <text>", "why")
    .action(
      calling(cli, async ({ api, show }, id: string, { reason }: { reason?: string }) => {
        const answer = await (await api.jobs[":id"].reject.$post({ param: { id }, json: { reason } })).json()
        show(answer, () => `job ${id} was rejected`)
      }),
    )
}
