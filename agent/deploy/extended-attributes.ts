/**
 * ACLs, extended attributes and security contexts of a replaced file. There is no call for them in the runtime, GNU cp has one;
 * but most files have none, and starting a program for each file of a large deployment costs more than all the rest. The C library
 * tells whether there are any.
 */
import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { type FileHandle, open } from "node:fs/promises"

type CountAttributes = (descriptor: number) => number

/** Loaded at first use. null: no C library of this name (musl), so that cp is asked every time. */
let attributesOf: Promise<CountAttributes | null> | undefined

const loadCounter = async (): Promise<CountAttributes | null> => {
  try {
    const { dlopen, FFIType } = await import("bun:ffi")
    const { symbols } = dlopen("libc.so.6", {
      flistxattr: { args: [FFIType.i32, FFIType.ptr, FFIType.u64], returns: FFIType.i64_fast },
    })
    return (descriptor) => Number(symbols.flistxattr(descriptor, null, 0))
  } catch {
    // Slower is all it is without.
    return null
  }
}

/** Where a file system has no attributes the call says -1: nothing to keep either. */
const mayHaveAttributes = async (...files: readonly FileHandle[]): Promise<boolean> => {
  attributesOf ??= loadCounter()
  const count = await attributesOf
  return count === null || files.some(({ fd }) => count(fd) > 0)
}

const timeLimitMs = 10_000

/**
 * Gives a new file the attributes of another one. Handles instead of names, so that nobody who may write to the folder can slip
 * another file in. Where cp cannot do it there is nothing to keep.
 */
export const copyAttributes = async (from: string, to: FileHandle): Promise<void> => {
  if (process.platform !== "linux") return
  const source = await open(from, "r")
  try {
    // Also of the new one: it may have inherited what the old one does not have.
    if (!(await mayHaveAttributes(source, to))) return
  } finally {
    await source.close()
  }
  // Asked for where the kernel has no SELinux, the context makes cp fail.
  const kinds = existsSync("/sys/fs/selinux/enforce") ? "mode,xattr,context" : "mode,xattr"
  const program = ["--attributes-only", `--preserve=${kinds}`, "--", from, `/proc/${process.pid}/fd/${to.fd}`]
  await new Promise<void>((resolve) => {
    spawn("cp", program, { cwd: "/", stdio: "ignore", timeout: timeLimitMs })
      .once("error", () => resolve())
      .once("close", () => resolve())
  })
}
