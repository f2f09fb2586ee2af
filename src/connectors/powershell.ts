/**
 * Runs constant PowerShell texts, on this host or elsewhere, with their input as one JSON document on standard input. Nothing
 * of the input is ever part of a text or of an argument list, so there is nothing to be escaped and nothing to be injected.
 */
import * as v from "valibot"
import { AppError } from "../errors"
import type { StartProgram } from "./program"

/** A program with arguments that ends by itself. */
export interface ShellCall {
  readonly program: string
  readonly args: readonly string[]
  readonly input: string
  readonly timeoutMs: number
}

/** Where scripts run. */
export interface PowerShellHost {
  /** For people. */
  readonly place: string
  /** Resolves with the standard output; fails with `upstream` when the program does not end with code 0. */
  run(call: ShellCall): Promise<string>
}

/** In front of the one line of a script that is its answer: the base64 of a JSON document. */
export const answerMarker = "certctl-answer:"

const Failure = v.object({
  ok: v.literal(false),
  step: v.string(),
  message: v.string(),
  rolled_back: v.optional(v.boolean()),
  manual_action_required: v.optional(v.boolean()),
  left: v.optional(v.string()),
})

/** What a script said went wrong. */
export class ScriptFailure extends AppError {
  /** `left`: it had changed something and could not go back; `clean`: it went back, or had not begun. */
  constructor(
    message: string,
    readonly state: "clean" | "left",
  ) {
    super("upstream", message)
  }
}

const longestWords = 2048

/**
 * Windows PowerShell, as every Windows Server has it; PowerShell 7 has no WebAdministration module of its own. The input format is
 * named because with -EncodedCommand the host otherwise looks for serialized objects.
 */
const powershell = "powershell.exe"
const fixedArgs = ["-NoProfile", "-NonInteractive", "-ExecutionPolicy", "RemoteSigned"]
const formats = ["-InputFormat", "Text", "-OutputFormat", "Text"]

/** JSON in ASCII: what a console's code page is must not matter. */
const asciiJson = (value: object): string =>
  JSON.stringify(value).replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)

/**
 * Runs one script and reads its answer. What the script says went wrong becomes a ScriptFailure: the step, the product's
 * words, and `rolled_back` or `manual_action_required` where something had been changed. Other errors leave open how far it got.
 */
export const runScript = async <S extends v.GenericSchema>(
  host: PowerShellHost,
  { script, input, timeoutMs, answer }: { script: string; input: object; timeoutMs: number; answer: S },
): Promise<v.InferOutput<S>> => {
  const encoded = Buffer.from(script, "utf16le").toString("base64")
  const stdout = await host.run({
    program: powershell,
    args: [...fixedArgs, ...formats, "-EncodedCommand", encoded],
    input: `${asciiJson(input)}\n`,
    timeoutMs,
  })
  const said = answerIn(stdout)
  const failure = v.safeParse(Failure, said)
  if (failure.success) {
    throw new ScriptFailure(wordsOf(failure.output), failure.output.manual_action_required === true ? "left" : "clean")
  }
  const parsed = v.safeParse(answer, said)
  if (!parsed.success) throw new AppError("upstream", `PowerShell on ${host.place} gave no answer that can be read`)
  return parsed.output
}

const wordsOf = ({
  step,
  message,
  rolled_back,
  manual_action_required,
  left,
}: v.InferOutput<typeof Failure>): string => {
  const words = `${step} failed: ${message.trim().slice(0, longestWords)}`
  if (rolled_back === true) return `${words} (rolled_back: the previous state was put back)`
  if (manual_action_required === true) {
    return `${words} (manual_action_required: going back failed too: ${left?.trim().slice(0, longestWords)})`
  }
  return words
}

const answerIn = (stdout: string): unknown => {
  const line = stdout.split(/\r?\n/).findLast((one) => one.startsWith(answerMarker))
  if (line === undefined) return null
  try {
    return JSON.parse(Buffer.from(line.slice(answerMarker.length), "base64").toString("utf8"))
  } catch (error) {
    throw new AppError("upstream", "PowerShell's answer is not JSON", { cause: error })
  }
}

/** Without these PowerShell does not start. PSModulePath is left to the machine: the agent may have been started by PowerShell 7. */
const windowsVariables = [
  "SystemRoot",
  "SystemDrive",
  "windir",
  "ComSpec",
  "TEMP",
  "TMP",
  "USERPROFILE",
  "APPDATA",
  "LOCALAPPDATA",
  "ProgramData",
  "ProgramFiles",
  "CommonProgramFiles",
]

/** The host that the agent runs on. */
export const localPowerShell = (start: StartProgram): PowerShellHost => ({
  place: "this host",
  async run({ program, args, input, timeoutMs }) {
    const env = Object.fromEntries(
      windowsVariables.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name] ?? ""]])),
    )
    try {
      return (await start({ name: "PowerShell", program, args, env, input, timeoutMs })).stdout
    } catch (error) {
      if (error instanceof AppError && error.code === "validation") {
        throw new AppError(
          "validation",
          `mode local needs ${program}, which was not found on this host: run the agent on the Windows host, or use mode winrm`,
          { cause: error },
        )
      }
      throw error
    }
  },
})
