/**
 * A Windows host as its PowerShell shows it: certificate stores, IIS sites and their bindings, a temporary folder. The state is a
 * file, so that it outlives the process, and scripts are really run, by the interpreter beside this.
 *
 * Started as a program it is powershell.exe: `bun powershell.fake.ts <folder> -NoProfile …`. Accepts the arguments that the agent
 * uses and no others.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { readPfx } from "./pfx.fake"
import {
  type CommandCall,
  type Commands,
  KilledPowerShell,
  runPowerShell,
  type Value,
} from "./powershell-interpreter.fake"

export interface StoredCertificate {
  thumbprint: string
  subject: string
  notBefore: string
  notAfter: string
  friendlyName: string
  hasPrivateKey: boolean
  isExportable: boolean
  pfxScheme: "modern" | "legacy" | "none"
}

export interface StoredBinding {
  protocol: string
  bindingInformation: string
  sslFlags: number
  certificateHash: string
  certificateStoreName: string
}

/** Something that goes wrong the next `times` times a command or method is called. */
export interface Fault {
  call: string
  times: number
  message: string
  /** The whole PowerShell process dies at this place. */
  kills?: boolean
}

export interface WindowsState {
  /** By `LocalMachine\My`. */
  stores: Record<string, StoredCertificate[]>
  sites: { name: string; bindings: StoredBinding[] }[]
  hasWebAdministration: boolean
  /** Windows Server 2016 and older. */
  readsLegacyPfxOnly: boolean
  faults: Fault[]
  /** Names of the commands and methods that changed something, oldest first. */
  changes: string[]
}

const emptyState: WindowsState = {
  stores: { "LocalMachine\\My": [], "LocalMachine\\WebHosting": [], "CurrentUser\\My": [] },
  sites: [{ name: "Default Web Site", bindings: [] }],
  hasWebAdministration: true,
  readsLegacyPfxOnly: false,
  faults: [],
  changes: [],
}

export interface FakeWindows {
  readonly folder: string
  state(): WindowsState
  change(edit: (state: WindowsState) => void): void
  /** Names of the files in its temporary folder. */
  temporaryFiles(): string[]
  /** What powershell.exe prints for these arguments and this input. */
  powershell(args: readonly string[], stdin: string): Promise<{ stdout: string; stderr: string; code: number }>
}

/** `folder` is made when it is missing; another process with the same folder is the same Windows. */
export const fakeWindows = (folder: string): FakeWindows => {
  const file = join(folder, "windows.json")
  const temporary = join(folder, "temp")
  mkdirSync(temporary, { recursive: true })
  const state = (): WindowsState =>
    existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : structuredClone(emptyState)
  const change = (edit: (state: WindowsState) => void) => {
    const now = state()
    edit(now)
    writeFileSync(`${file}.new`, JSON.stringify(now))
    renameSync(`${file}.new`, file)
  }
  return {
    folder,
    state,
    change,
    temporaryFiles: () => readdirSync(temporary),
    async powershell(args, stdin) {
      const refused = refusedArguments(args)
      if (refused !== null) return { stdout: "", stderr: refused, code: 64 }
      const text = Buffer.from(args.at(-1) ?? "", "base64").toString("utf16le")
      try {
        return {
          stdout: await runPowerShell(text, stdin, windowsCommands(state, change, temporary)),
          stderr: "",
          code: 0,
        }
      } catch (error) {
        if (error instanceof KilledPowerShell) return { stdout: "", stderr: "", code: 137 }
        return { stdout: "", stderr: error instanceof Error ? error.message : String(error), code: 1 }
      }
    },
  }
}

const agreed = [
  "-NoProfile",
  "-NonInteractive",
  "-ExecutionPolicy",
  "RemoteSigned",
  "-InputFormat",
  "Text",
  "-OutputFormat",
  "Text",
  "-EncodedCommand",
]
/** CreateProcess takes no more. */
const longestCommandLine = 32_767

const refusedArguments = (args: readonly string[]): string | null => {
  if (args.length !== agreed.length + 1 || agreed.some((arg, index) => args[index] !== arg)) {
    return `powershell.exe: unexpected arguments ${JSON.stringify(args.slice(0, agreed.length))}`
  }
  if (!/^[A-Za-z0-9+/]+=*$/.test(args.at(-1) ?? ""))
    return "Cannot process the command because of a malformed base64 string"
  if (args.join(" ").length + 20 > longestCommandLine) return "The filename or extension is too long"
  return null
}

const windowsCommands = (
  state: () => WindowsState,
  change: (edit: (state: WindowsState) => void) => void,
  temporary: string,
): Commands => {
  const fail = (call: string) => {
    const fault = state().faults.find((one) => one.call === call && one.times > 0)
    if (fault === undefined) return
    change(({ faults }) => {
      const same = faults.find((one) => one.call === call && one.times > 0)
      if (same !== undefined) same.times--
    })
    if (fault.kills === true) throw new KilledPowerShell(call)
    throw new Error(fault.message)
  }
  /** One change that the host makes, unless it was told to fail. */
  const changed = (call: string, edit: (state: WindowsState) => void) => {
    fail(call)
    change((now) => {
      edit(now)
      now.changes.push(call)
    })
  }
  const text = (value: Value): string => (value === null || value === undefined ? "" : String(value))
  const argument = ({ named }: CommandCall, name: string): string => {
    if (!named.has(name)) throw new Error(`A parameter cannot be found that matches parameter name '${name}'.`)
    return text(named.get(name))
  }
  const knows = ({ named, positional }: CommandCall, ...names: string[]) => {
    const unknown = [...named.keys()].find((name) => !names.includes(name))
    if (unknown !== undefined) throw new Error(`A parameter cannot be found that matches parameter name '${unknown}'.`)
    if (positional.length > 0)
      throw new Error(`A positional parameter cannot be found that accepts argument '${positional[0]}'.`)
  }

  /** `Cert:\LocalMachine\My` and what follows it; null for files. */
  const certificatePath = (path: string): { store: string; thumbprint: string | null } | null => {
    const [drive, location, store, thumbprint, ...more] = path.split("\\")
    if (drive?.toLowerCase() !== "cert:" || more.length > 0) return null
    return { store: `${location}\\${store}`, thumbprint: thumbprint?.toUpperCase() ?? null }
  }
  const storeIn = (now: WindowsState, name: string): StoredCertificate[] => {
    const key = Object.keys(now.stores).find((one) => one.toLowerCase() === name.toLowerCase())
    const found = key === undefined ? undefined : now.stores[key]
    if (found === undefined) throw new Error(`Cannot find path 'Cert:\\${name}' because it does not exist.`)
    return found
  }
  const hasStore = (name: string) => Object.keys(state().stores).some((one) => one.toLowerCase() === name.toLowerCase())

  const certificateObject = (store: string, one: StoredCertificate): object => ({
    PSPath: `Cert:\\${store}\\${one.thumbprint}`,
    Thumbprint: one.thumbprint,
    Subject: one.subject,
    NotBefore: new Date(one.notBefore),
    NotAfter: new Date(one.notAfter),
    HasPrivateKey: one.hasPrivateKey,
    get FriendlyName() {
      return one.friendlyName
    },
    set FriendlyName(name: string) {
      changed("FriendlyName", (now) => {
        for (const kept of storeIn(now, store)) if (kept.thumbprint === one.thumbprint) kept.friendlyName = name
      })
    },
  })
  const needsModule = () => {
    if (!state().hasWebAdministration)
      throw new Error("The term 'Get-Website' is not recognized as the name of a cmdlet.")
  }
  const siteIn = (now: WindowsState, name: string) => {
    const site = now.sites.find((one) => one.name.toLowerCase() === name.toLowerCase())
    if (site === undefined) throw new Error(`Cannot find site '${name}'`)
    return site
  }
  const bindingIn = (now: WindowsState, site: string, like: StoredBinding) => {
    const found = siteIn(now, site).bindings.find((one) => one.bindingInformation === like.bindingInformation)
    if (found === undefined) throw new Error("Element not found. (Exception from HRESULT: 0x80070490)")
    return found
  }
  const bindingObject = (site: string, one: StoredBinding): object => ({
    ...one,
    site,
    AddSslCertificate(thumbprint: Value, store: Value) {
      changed("AddSslCertificate", (now) => {
        const stored = storeIn(now, `LocalMachine\\${text(store)}`).find((each) => each.thumbprint === text(thumbprint))
        if (stored?.hasPrivateKey !== true) {
          throw new Error(
            "A specified logon session does not exist. It may already have been terminated. (Exception from HRESULT: 0x80070520)",
          )
        }
        Object.assign(bindingIn(now, site, one), {
          certificateHash: stored.thumbprint,
          certificateStoreName: text(store),
        })
      })
    },
    RemoveSslCertificate() {
      changed("RemoveSslCertificate", (now) => {
        Object.assign(bindingIn(now, site, one), { certificateHash: "", certificateStoreName: "" })
      })
    },
  })

  return {
    commands: {
      "ConvertFrom-Json"(call) {
        knows(call, "inputobject")
        return [JSON.parse(argument(call, "inputobject"))]
      },
      "ConvertTo-Json": (call) => [JSON.stringify(call.named.get("inputobject"))],
      "ConvertTo-SecureString"(call) {
        if (call.named.get("asplaintext") !== true || call.named.get("force") !== true)
          throw new Error("Cannot process command")
        return [{ secure: argument(call, "string") }]
      },
      "Get-Date": () => [dateObject(new Date())],
      "Join-Path": (call) => [join(argument(call, "path"), argument(call, "childpath"))],
      "Import-Module"(call) {
        knows(call, "name")
        const name = argument(call, "name")
        if (name !== "WebAdministration" || !state().hasWebAdministration) {
          throw new Error(
            `The specified module '${name}' was not loaded because no valid module file was found in any module directory.`,
          )
        }
        return []
      },
      "Test-Path"(call) {
        knows(call, "literalpath")
        const path = argument(call, "literalpath")
        const certificate = certificatePath(path)
        if (certificate === null) return [existsSync(path)]
        if (!hasStore(certificate.store)) return [false]
        if (certificate.thumbprint === null) return [true]
        return [storeIn(state(), certificate.store).some(({ thumbprint }) => thumbprint === certificate.thumbprint)]
      },
      "Get-Item"(call) {
        knows(call, "literalpath")
        const path = argument(call, "literalpath")
        const certificate = certificatePath(path)
        if (certificate === null) throw new Error(`Cannot find path '${path}'`)
        const found = storeIn(state(), certificate.store).find(
          ({ thumbprint }) => thumbprint === certificate.thumbprint,
        )
        if (found === undefined) throw new Error(`Cannot find path '${path}' because it does not exist.`)
        return [certificateObject(certificate.store, found)]
      },
      "Get-ChildItem"(call) {
        knows(call, "literalpath", "filter", "erroraction")
        const path = argument(call, "literalpath")
        const certificate = certificatePath(path)
        if (certificate !== null) {
          return storeIn(state(), certificate.store).map((one) => certificateObject(certificate.store, one))
        }
        const pattern = new RegExp(`^${argument(call, "filter").replaceAll(".", "\\.").replaceAll("*", ".*")}$`, "i")
        return readdirSync(path)
          .filter((name) => pattern.test(name))
          .map((name) => ({ FullName: join(path, name), LastWriteTime: statSync(join(path, name)).mtime }))
      },
      "Remove-Item"(call) {
        knows(call, "literalpath", "force", "deletekey", "erroraction")
        for (const one of call.input) rmSync((one as { FullName: string }).FullName)
        if (call.input.length > 0) return []
        const path = argument(call, "literalpath")
        const certificate = certificatePath(path)
        if (certificate === null) rmSync(path)
        else {
          changed("Remove-Item", (now) => {
            const store = storeIn(now, certificate.store)
            const at = store.findIndex(({ thumbprint }) => thumbprint === certificate.thumbprint)
            if (at < 0) throw new Error(`Cannot find path '${path}' because it does not exist.`)
            store.splice(at, 1)
          })
        }
        return []
      },
      "Import-PfxCertificate"(call) {
        knows(call, "filepath", "certstorelocation", "password", "exportable")
        const location = certificatePath(argument(call, "certstorelocation"))
        if (location === null) throw new Error("The certificate store location is not valid")
        const password = call.named.get("password")
        if (typeof password !== "object" || password === null || !("secure" in password)) {
          throw new Error("Cannot bind parameter 'Password'. Cannot convert value to type SecureString.")
        }
        const pfx = readFileSync(argument(call, "filepath"))
        const read = readPfx(pfx, text(password.secure))
        if (state().readsLegacyPfxOnly && read.pfxScheme === "modern") {
          throw new Error("The specified network password is not correct.")
        }
        changed("Import-PfxCertificate", (now) => {
          const store = storeIn(now, location.store)
          const was = store.findIndex(({ thumbprint }) => thumbprint === read.thumbprint)
          if (was >= 0) store.splice(was, 1)
          store.push({ ...read, friendlyName: "", isExportable: call.named.get("exportable") === true })
        })
        return [{ Thumbprint: read.thumbprint }]
      },
      "Get-Website"(call) {
        needsModule()
        knows(call)
        return state().sites.map(({ name }) => ({ Name: name }))
      },
      "Get-WebBinding"(call) {
        needsModule()
        knows(call, "name", "protocol")
        const site = state().sites.find(({ name }) => name.toLowerCase() === argument(call, "name").toLowerCase())
        return (site?.bindings ?? [])
          .filter(({ protocol }) => protocol === argument(call, "protocol"))
          .map((one) => bindingObject(site?.name ?? "", one))
      },
      "New-WebBinding"(call) {
        needsModule()
        knows(call, "name", "protocol", "ipaddress", "port", "hostheader", "sslflags")
        const bindingInformation = `${argument(call, "ipaddress")}:${argument(call, "port")}:${argument(call, "hostheader")}`
        changed("New-WebBinding", (now) => {
          const { bindings } = siteIn(now, argument(call, "name"))
          if (bindings.some((one) => one.bindingInformation === bindingInformation)) {
            throw new Error(
              `Cannot add duplicate collection entry of type 'binding' with unique key attributes 'protocol, bindingInformation' respectively set to 'https, ${bindingInformation}'`,
            )
          }
          bindings.push({
            protocol: argument(call, "protocol"),
            bindingInformation,
            sslFlags: Number(argument(call, "sslflags")),
            certificateHash: "",
            certificateStoreName: "",
          })
        })
        return []
      },
      "Remove-WebBinding"(call) {
        needsModule()
        knows(call)
        for (const one of call.input as (StoredBinding & { site: string })[]) {
          changed("Remove-WebBinding", (now) => {
            const { bindings } = siteIn(now, one.site)
            bindings.splice(bindings.indexOf(bindingIn(now, one.site, one)), 1)
          })
        }
        return []
      },
    },
    statics: {
      "io.path::gettemppath": () => `${temporary}/`,
      "io.file::writeallbytes": (path, bytes) => {
        fail("WriteAllBytes")
        writeFileSync(text(path), bytes as Buffer)
        return null
      },
      "convert::frombase64string": (value) => Buffer.from(text(value), "base64"),
      "convert::tobase64string": (value) => (value as Buffer).toString("base64"),
      "text.encoding::utf8.getbytes": (value) => Buffer.from(text(value), "utf8"),
      "guid::newguid": () => ({ ToString: () => crypto.randomUUID().replaceAll("-", "") }),
    },
  }
}

/** A Date that PowerShell can add hours to. */
const dateObject = (date: Date): Date => Object.assign(date, dateMethods)
const dateMethods = {
  AddHours(this: Date, hours: Value): Date {
    return dateObject(new Date(this.getTime() + Number(hours) * 3_600_000))
  },
}

/** Puts a `powershell.exe` that is this fake into `folder`/bin and returns that folder, to be put first on a search path. */
export const installPowerShell = (folder: string): string => {
  const bin = join(folder, "bin")
  mkdirSync(bin, { recursive: true })
  const quoted = (part: string) => `'${part.replaceAll("'", "'\\''")}'`
  writeFileSync(
    join(bin, "powershell.exe"),
    `#!/bin/sh\nexec ${quoted(process.execPath)} ${quoted(import.meta.path)} ${quoted(folder)} "$@"\n`,
    { mode: 0o755 },
  )
  return bin
}

if (import.meta.main) {
  const [folder = "", ...args] = process.argv.slice(2)
  const { stdout, stderr, code } = await fakeWindows(folder).powershell(args, await Bun.stdin.text())
  process.stdout.write(stdout)
  process.stderr.write(stderr)
  if (code === 137) process.kill(process.pid, "SIGKILL")
  process.exitCode = code
}
