import { expect, test } from "bun:test"
import { noticeOf, withNotice } from "./notices"

test("a notice survives the redirect", () => {
  const path = withNotice("/certificates/mc-1?tab=a", { key: "renewal-started", jobId: "job-0195" })
  expect(noticeOf(new URL(path, "https://x.example").searchParams)).toEqual({
    key: "renewal-started",
    jobId: "job-0195",
  })
})

test("only known sentences can be shown", () => {
  for (const key of ["nonsense", "toString", "__proto__", "<b>x</b>"])
    expect(noticeOf(new URLSearchParams({ notice: key }))).toBeNull()
})

test("what does not look like a job id is left out", () => {
  expect(noticeOf(new URLSearchParams({ notice: "renewal-started", job: "../../evil" }))).toEqual({
    key: "renewal-started",
  })
})
