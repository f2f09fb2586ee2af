/** The address of a certctl server as a person gives it. */
import { isIP } from "node:net"
import { AppError } from "../errors"

/** Whether a host name of a URL (IPv6 in brackets) stays on this machine. */
export const isLoopback = (hostname: string): boolean => {
  const host = hostname.replace(/^\[(.*)\]$/, "$1")
  if (host === "localhost" || host.endsWith(".localhost") || host === "::1") return true
  return isIP(host) === 4 && host.startsWith("127.")
}

/**
 * The base URL without a trailing slash. Plain HTTP only to this machine or with `isInsecure`: keys travel in headers.
 * Fails with `validation`.
 */
export const serverUrl = (text: string, isInsecure: boolean): string => {
  const url = URL.parse(text)
  if (url === null || (url.protocol !== "https:" && url.protocol !== "http:")) {
    throw new AppError(
      "validation",
      "the server's URL must look like https://certctl.example:8443 (CERTCTL_SERVER_URL)",
    )
  }
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    throw new AppError(
      "validation",
      "the server's URL must not contain a user, a query or a fragment (CERTCTL_SERVER_URL)",
    )
  }
  if (url.protocol === "http:" && !isInsecure && !isLoopback(url.hostname)) {
    throw new AppError(
      "validation",
      "the server's URL must begin with https:// (plain http:// only for this machine, or with --insecure)",
    )
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, "")}`
}
