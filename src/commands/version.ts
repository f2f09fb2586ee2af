/** `certctl version`. */
import { version } from "../version"

export const printVersion = (): 0 => {
  const { version: number, commit, modified, buildTime, runtime } = version
  const build =
    commit === ""
      ? ""
      : ` (${commit.slice(0, 12)}${modified ? ", modified" : ""}${buildTime === "" ? "" : `, built ${buildTime}`})`
  process.stdout.write(`certctl ${number}${build}, ${runtime}, ${process.platform} ${process.arch}\n`)
  return 0
}
