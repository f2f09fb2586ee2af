/** Who may decide about what was asked for: never the one who asked, and for a yes not who owns the certificate either. */
import { AppError } from "../errors"
import { type Actor, actorName, anonymousActor } from "./actor"

const objection = (words: string): AppError => new AppError("forbidden", `two-person integrity: ${words}`)

/** Without authentication there is no identity to compare, and whoever asked then is nobody in particular. */
export const objectionToRequester = (requestedBy: string | null, actor: Actor): AppError | null => {
  const isNobody = actor.role === "none" || requestedBy === actorName(anonymousActor)
  return isNobody || requestedBy !== actor.name
    ? null
    : objection("you asked for this yourself, so another person must decide")
}

/** `owner`: name and e-mail of the certificate's owner; null when there is none. */
export const objectionToOwner = (
  owner: { readonly name: string; readonly email: string } | null,
  actor: Actor,
): AppError | null => {
  if (actor.role === "none" || owner === null) return null
  const me = actor.name.toLowerCase()
  return [owner.name, owner.email].some((own) => own !== "" && own.toLowerCase() === me)
    ? objection("you own this certificate, so another person must approve")
    : null
}
