/** Where to go after signing in: a path of this console, never another site. */

/** The given path, or the start page: browsers read `//host` and `/\\host` as other sites. */
export const returnPath = (path: string | undefined): string =>
  path !== undefined && /^\/(?![/\\])[^\\\p{Cc}]*$/u.test(path) ? path : "/"
