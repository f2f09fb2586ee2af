import { describe, expect, test } from "bun:test"
import { renderDocument } from "../parts/document"
import { problemsOf } from "./markup.check"
import { samplePages } from "./pages.samples"
import { sampleFrame } from "./samples/frame.sample"
import { signInPage } from "./sign-in.page"

describe("every page", () => {
  for (const [name, page] of Object.entries(samplePages)) {
    test(`${name} is sound HTML that the content security policy allows`, () => {
      expect(problemsOf(renderDocument(page()))).toEqual([])
    })
  }
})

describe("the markup check", () => {
  const document = (body: string) => `<!doctype html><html><body><h1>x</h1>${body}</body></html>`
  const wrong: readonly (readonly [body: string, problem: string])[] = [
    ["<div><b></div></b>", "</div> closes <b>"],
    ["<div>", "</body> closes <div>"],
    ['<p id="a"></p><p id="a"></p>', "the id a stands twice"],
    ['<p style="color:red"></p>', "<p> has a style attribute"],
    ['<p onclick="x()"></p>', "<p> has an inline handler onclick"],
    ['<input name="q"/>', '<input name="q"> has no label'],
    ['<label for="gone">x</label>', "<label for> names gone, which is not on the page"],
    ["<script>x</script>", "an inline script"],
    ["<p><div></div></p>", "<div> inside <p>"],
    ["<ul><p></p></ul>", "<ul> holds something else than <li>"],
    ['<a href="/x"><button>y</button></a>', "<button> inside a link or button"],
    ["<p>undefined</p>", 'the text says "undefined"'],
    ['<a href="/x"></a>', "an unnamed <a>"],
    ["<h1>two</h1>", "2 h1 headings"],
  ]
  for (const [body, problem] of wrong) {
    test(`reports ${problem}`, () => {
      expect(problemsOf(document(body))).toContain(problem)
    })
  }
  test("finds nothing wrong with a sound page", () => {
    expect(problemsOf(document('<ul><li><a href="/x">y</a></li></ul>'))).toEqual([])
  })
})

test("text from the inventory is escaped wherever it stands", () => {
  const hostile = '"><script>alert(1)</script>'
  const text = renderDocument(signInPage({ frame: sampleFrame("/login"), back: hostile, problem: null }))
  expect(text).not.toContain("<script>alert")
  expect(problemsOf(text)).toEqual([])
})

test("a viewer is offered no action", () => {
  const text = renderDocument(samplePages["certificates-viewer"]?.())
  expect(text).not.toContain("/certificates/new")
  expect(text).not.toContain("bulk-renew")
})
