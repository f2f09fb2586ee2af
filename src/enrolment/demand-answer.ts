/** For the start of a server: an issuer that is missing or does not tell its chain would only be noticed by clients. */
import { AppError, messageOf } from "../errors"

const patienceMs = 10_000

/** Resolves with what `ask` finds out. Fails with `validation`, naming the setting `which`, also when that takes longer than ten seconds. */
export const demandAnswer = async <T>(which: string, issuerId: string, ask: () => Promise<T>): Promise<T> => {
  const late = new AppError("upstream", "it does not answer within 10 seconds")
  const { promise: tooLate, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(late), patienceMs)
  try {
    return await Promise.race([ask(), tooLate])
  } catch (error) {
    throw new AppError("validation", `${which}, ${issuerId}, cannot be used: ${messageOf(error)}`, { cause: error })
  } finally {
    clearTimeout(timer)
  }
}
