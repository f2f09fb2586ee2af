/** Which build this is, in one line. Loads nothing else: scripts and health checks ask for it all the time. */
import { version } from "../version"

export const versionText = (): string => {
  const { version: number, commit, modified, buildTime, runtime } = version
  const build =
    commit === ""
      ? ""
      : ` (${commit.slice(0, 12)}${modified ? ", modified" : ""}${buildTime === "" ? "" : `, built ${buildTime}`})`
  return `certctl ${number}${build}, ${runtime}, ${process.platform} ${process.arch}`
}

export const printVersion = (): 0 => {
  process.stdout.write(`${versionText()}\n`)
  return 0
}
