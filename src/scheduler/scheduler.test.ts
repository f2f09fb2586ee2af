import { afterEach, expect, test } from "bun:test"
import { getLogger } from "@logtape/logtape"
import { until } from "../testing/until"
import { type LoopDefinition, type LoopRunner, loopRunner } from "./loop"
import { type Leases, scheduler, soleHolder } from "./scheduler"

const log = getLogger(["test"])
const running: { stop(): Promise<void> }[] = []

afterEach(async () => {
  await Promise.all(running.splice(0).map((one) => one.stop()))
})

/** A loop whose runs end when the test says so. */
const heldLoop = (options: Partial<LoopDefinition> = {}) => {
  const ends: PromiseWithResolvers<void>[] = []
  const signals: AbortSignal[] = []
  let atOnce = 0
  let mostAtOnce = 0
  const runner: LoopRunner = loopRunner(
    {
      name: "held",
      everyMs: 3_600_000,
      timeoutMs: 60_000,
      onStart: false,
      ...options,
      async run(signal) {
        atOnce += 1
        mostAtOnce = Math.max(mostAtOnce, atOnce)
        const end = Promise.withResolvers<void>()
        ends.push(end)
        signals.push(signal)
        signal.addEventListener("abort", () => end.resolve(), { once: true })
        try {
          await end.promise
        } finally {
          atOnce -= 1
        }
      },
    },
    log,
  )
  running.push(runner)
  return { runner, ends, signals, mostAtOnce: () => mostAtOnce }
}

test("does nothing while another server has the loop", async () => {
  const { runner, ends } = heldLoop({ onStart: true })
  runner.wake()
  expect(ends).toHaveLength(0)
  runner.take()
  expect(ends).toHaveLength(1)
})

test("runs once more after the run under way, however often it was woken meanwhile", async () => {
  const { runner, ends, mostAtOnce } = heldLoop()
  runner.take()
  for (let i = 0; i < 5; i += 1) runner.wake()
  expect(ends).toHaveLength(1)
  ends[0]?.resolve()
  await until("the second run", () => ends.length === 2)
  ends[1]?.resolve()
  await until("the end", () => !runner.isBusy())
  expect(ends).toHaveLength(2)
  expect(mostAtOnce()).toBe(1)
})

test("rests after a long run, as long as its share of the time asks for", async () => {
  const { runner, ends } = heldLoop({ everyMs: 1000, mostShare: 0.25 })
  runner.take()
  runner.wake()
  const began = performance.now()
  await until("a tick has come meanwhile", () => performance.now() - began > 1100)
  runner.wake()
  ends[0]?.resolve()
  const ended = performance.now()
  await until("the second run", () => ends.length === 2)
  expect(performance.now() - ended).toBeGreaterThan(3 * (ended - began) * 0.99)
})

test("ticks on its interval", async () => {
  let ticks = 0
  const runner = loopRunner(
    { name: "tick", everyMs: 1000, timeoutMs: 60_000, onStart: false, run: async () => (ticks += 1) },
    log,
  )
  running.push(runner)
  runner.take()
  await until("two ticks", () => ticks >= 2)
})

test("goes on after a run that throws", async () => {
  let runs = 0
  const runner = loopRunner(
    {
      name: "throwing",
      everyMs: 3_600_000,
      timeoutMs: 60_000,
      onStart: true,
      run: async () => {
        runs += 1
        throw new Error("one bad row")
      },
    },
    log,
  )
  running.push(runner)
  runner.take()
  await until("the first run", () => runs === 1 && !runner.isBusy())
  runner.wake()
  await until("the second run", () => runs === 2)
})

test("tells a run that takes too long to stop, and may then run again", async () => {
  const { runner, signals } = heldLoop({ timeoutMs: 20 })
  runner.take()
  runner.wake()
  await until("the run was told to stop", () => signals[0]?.aborted === true && !runner.isBusy())
  runner.wake()
  expect(signals).toHaveLength(2)
})

test("tells what runs to stop when the loop is lost, and waits for it when it stops itself", async () => {
  const { runner, signals } = heldLoop()
  runner.take()
  runner.wake()
  runner.lose()
  expect(signals[0]?.aborted).toBe(true)
  await runner.stop()
  expect(runner.isBusy()).toBe(false)
})

const oneLoop = (run: LoopDefinition["run"], wakeOn: readonly string[] = []): LoopDefinition => ({
  name: "only",
  everyMs: 3_600_000,
  timeoutMs: 60_000,
  onStart: true,
  wakeOn,
  run,
})

test("hands a loop to the next server when it stops", async () => {
  let holder: string | null = null
  const leases: Leases = {
    hold: async (loops, asking) => {
      holder ??= asking
      return holder === asking ? loops.map((loop) => ({ loop, fence: 1 })) : []
    },
    release: async (leaving) => {
      if (holder === leaving) holder = null
    },
  }
  const runs: string[] = []
  const serverOf = (serverId: string) =>
    scheduler({
      loops: [oneLoop(async () => runs.push(serverId))],
      leases,
      serverId,
      onSignal: () => () => {},
      onHeartbeat: async () => {},
    })
  const first = serverOf("first")
  const second = serverOf("second")
  await first.start()
  await second.start()
  expect(runs).toEqual(["first"])
  await first.stop(1000)
  await until("the second one has it", () => runs.includes("second"))
  await second.stop(1000)
})

test("runs a loop at once on the signal it waits for", async () => {
  const heard = new Map<string, () => void>()
  let runs = 0
  const timetable = scheduler({
    loops: [oneLoop(async () => (runs += 1), ["work"])],
    leases: soleHolder,
    serverId: "one",
    onSignal: (topic, hear) => {
      heard.set(topic, () => hear(""))
      return () => heard.delete(topic)
    },
    onHeartbeat: async () => {},
  })
  await timetable.start()
  await until("the run at the start", () => runs === 1)
  heard.get("work")?.()
  await until("the run on the signal", () => runs === 2)
  await timetable.stop(1000)
  expect(heard.size).toBe(0)
})
