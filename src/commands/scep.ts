/** `certctl scep`: passwords for enrolment over SCEP. The password is alone on stdout, so that a script can take it from there. */
import type { Command } from "commander"
import { apiCommand, type Cli, calling, durationArgument } from "./cli"
import { moment, note } from "./output"

interface ChallengeFlags {
  readonly profile?: string
  readonly ttl?: number
}

export const addScep = (program: Command, cli: Cli): void => {
  const scep = program.command("scep").description("devices that enrol over SCEP")

  apiCommand(scep, "challenge", "make a password that is good for one enrolment; it is shown this once")
    .option("--profile <path>", "path label of the SCEP profile (default: the root path)")
    .option("--ttl <duration>", "how long it is good for, up to 168h (default: 1h)", durationArgument)
    .action(
      calling(cli, async ({ api, show, isJson }, { profile, ttl }: ChallengeFlags) => {
        const json = { profile, ttl_seconds: ttl === undefined ? undefined : Math.round(ttl / 1000) }
        const made = await (await api.scep.challenges.$post({ json })).json()
        show(made, () => made.challenge)
        if (!isJson) {
          const path = made.profile === "" ? "/scep" : `/scep/${made.profile}`
          note(`good for one enrolment at ${path} until ${moment(made.expires_at)}; it is not shown again`)
        }
      }),
    )
}
