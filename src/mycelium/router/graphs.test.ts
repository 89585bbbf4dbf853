import assert from 'node:assert/strict'
import test from 'node:test'
import { seeded, simulate } from './simulate.ts'

type Sim = ReturnType<typeof simulate>

/** Asks for every pair (or COUNT random ones) and expects each to be reached, unless the graph is cut there. */
function expectReached(sim: Sim, n: number, seed: number, count = 200, reachable = (_a: number, _b: number) => true) {
  const random = seeded(seed)
  const pairs = Array.from({ length: count }, () => [random(n), random(n)] as const)
  for (const [a, b] of pairs) if (a !== b) sim.want(a, b)
  sim.run(12_000)
  for (const [a, b] of pairs)
    if (a !== b) assert.equal(sim.path(a, b) !== undefined, reachable(a, b), `${a} to ${b} at ${sim.now} ms`)
}

const shapes: Record<string, (n: number, connect: (a: number, b: number) => void) => void> = {
  line: (n, connect) => {
    for (let i = 1; i < n; i++) connect(i - 1, i)
  },
  ring: (n, connect) => {
    for (let i = 0; i < n; i++) connect(i, (i + 1) % n)
  },
  star: (n, connect) => {
    for (let i = 1; i < n; i++) connect(0, i)
  },
  tree: (n, connect) => {
    for (let i = 1; i < n; i++) connect((i - 1) >> 1, i)
  },
}

for (const [shape, build] of Object.entries(shapes)) {
  test(`${shape}: every pair finds its way`, () => {
    // requests travel at most 16 hops from whoever asks, but every route acquired is told to all neighbours
    const n = shape === 'line' || shape === 'ring' ? 12 : 63
    const sim = simulate(n)
    build(n, (a, b) => sim.connect(a, b, 1 + ((a + b) % 7)))
    sim.run(2_000)
    expectReached(sim, n, 7)
  })
}

function randomGraph(n: number, degree: number, seed: number, announce?: (node: number) => boolean): Sim {
  const random = seeded(seed)
  const sim = simulate(n, announce ? { announce } : {})
  for (let i = 1; i < n; i++) sim.connect(random(i), i, 1 + random(30))
  for (let i = 0; i < (n * (degree - 2)) / 2; i++) {
    const a = random(n)
    const b = random(n)
    if (a !== b) sim.connect(a, b, 1 + random(30))
  }
  return sim
}

/**
 * Fails and heals links for a while, of the messages on the others LOST in a hundred vanishing; then expects every pair to be
 * reached. Every step is checked for loops.
 */
function storm(n: number, seed: number, every: number, rounds: number, lost = 0): void {
  const sim = randomGraph(n, 4, seed, (node) => node % every === 0)
  const random = seeded(seed + 100)
  const pick = () => [random(n), random(n / every) * every] as const
  sim.run(2_000)
  if (lost > 0) sim.lose(() => random(100) < lost)
  for (let round = 0; round < rounds; round++) {
    for (let k = 0; k < n / 12; k++) {
      const link = sim.links[random(sim.links.length)]!
      if (link.up) sim.down(link, random(3) === 0)
      else sim.up(link)
    }
    for (let k = 0; k < 10; k++) sim.want(...pick())
    sim.run(random(2_000))
  }
  sim.lose(() => false)
  for (const link of sim.links) sim.up(link)
  sim.run(5_000)
  const pairs = Array.from({ length: 3 * n }, pick)
  for (const pair of pairs) sim.want(...pair)
  sim.run(12_000)
  for (const [a, b] of pairs) assert.notEqual(sim.path(a, b), undefined, `seed ${seed}: ${a} to ${b}`)
}

test('100 nodes at random: loop-free while links fail, silently or not, and all reached afterwards', () => {
  for (const seed of [1, 2, 3]) storm(100, seed, 4, 25)
})

test('100 nodes at random, a message in five lost: the same', () => {
  for (const seed of [4, 5, 6]) storm(100, seed, 4, 25, 20)
})

const nightly = process.env.ZOS_NIGHTLY ? {} : { skip: 'nightly: set ZOS_NIGHTLY=1' }
test('1,000 nodes at random: the same', nightly, () => storm(1_000, 4, 10, 10))

/** Nodes that announce a subnet, among 1,000: what the figures below are about is reached from both sides of them. */
const ANNOUNCING = 50

for (const [shape, build] of Object.entries(shapes)) {
  test(
    `1,000 nodes, ${shape}: no loop at any step while links fail, silently or not, and all reached afterwards`,
    nightly,
    () => {
      const n = 1_000
      const sim = simulate(n, { announce: (node) => node % (n / ANNOUNCING) === 0 })
      build(n, (a, b) => sim.connect(a, b, 1 + ((a + b) % 7)))
      const random = seeded(9)
      sim.run(5_000)
      for (let round = 0; round < 10; round++) {
        for (let k = 0; k < 20; k++) {
          const link = sim.links[random(sim.links.length)]!
          if (link.up) sim.down(link, random(3) === 0)
          else sim.up(link)
        }
        sim.run(random(2_000))
      }
      for (const link of sim.links) sim.up(link)
      sim.run(20_000)
      // requests travel at most 16 hops, and a line of 1,000 has ways of 999: who is asked for from near by is found
      const far = shape === 'line' || shape === 'ring' ? 8 : n
      const pairs = Array.from({ length: 300 }, () => {
        const to = random(ANNOUNCING) * (n / ANNOUNCING)
        return [Math.min(n - 1, Math.max(0, far < n ? to + random(2 * far) - far : random(n))), to] as const
      })
      for (const pair of pairs) sim.want(...pair)
      sim.run(20_000)
      for (const [a, b] of pairs) assert.notEqual(sim.path(a, b), undefined, `${a} to ${b}`)
    },
  )
}
