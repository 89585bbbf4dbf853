import assert from 'node:assert/strict'
import test from 'node:test'
import { type Health, judge, pauseOf, resolveHealth } from './health.ts'
import { volumesOf } from './image-volumes.ts'

const SECOND = 1e9
const image = { Test: ['CMD-SHELL', 'curl -f /'], Interval: 5 * SECOND, Retries: 2, StartPeriod: 0 }
const defaults = { interval: 30_000, timeout: 30_000, retries: 3, startPeriod: 0, startInterval: 5000 }

test('what is asked counts over what the image says, and that over the defaults', () => {
  const shell = { argv: ['/bin/sh', '-c', 'curl -f /'] }
  assert.deepEqual(resolveHealth(undefined, image), { ...defaults, probe: shell, interval: 5000, retries: 2 })
  assert.deepEqual(resolveHealth({ interval: 7, startPeriod: 9 }, image), {
    ...defaults,
    probe: shell,
    interval: 7,
    retries: 2,
    startPeriod: 9,
  })
  assert.deepEqual(resolveHealth({ probe: { tcp: 80 } }, undefined), { ...defaults, probe: { tcp: 80 } })
  assert.deepEqual(resolveHealth(undefined, { Test: ['CMD', 'a', 'b'] })?.probe, { argv: ['a', 'b'] })
  for (const Test of [['NONE'], [], ['CMD'], null, undefined, ['WHAT', 'x']])
    assert.equal(resolveHealth({ interval: 7 }, { Test: Test as string[] }), undefined)
  assert.equal(resolveHealth('none', image), undefined)
})

test('failures in a row make it unhealthy, one success healthy; in its start period they do not count', () => {
  const check = { ...defaults, probe: { tcp: 1 }, retries: 2, startPeriod: 1000, startInterval: 10 }
  const after = (codes: number[], at: number) => {
    let health: Health = { status: 'starting', failingStreak: 0, log: [] }
    for (const ExitCode of codes) health = judge(health, check, { Start: '', End: '', ExitCode, Output: '' }, at)
    return health
  }
  const said = (codes: number[], at: number) => [after(codes, at).status, after(codes, at).failingStreak]
  assert.deepEqual(said([], 0), ['starting', 0])
  assert.deepEqual(said([1, 1, 1], 999), ['starting', 0])
  assert.deepEqual(said([1, 0], 999), ['healthy', 0])
  assert.deepEqual(said([0, 1, 1], 999), ['unhealthy', 2], 'the first success ends the start period')
  assert.deepEqual(said([1], 1000), ['starting', 1])
  assert.deepEqual(said([1, -1], 1000), ['unhealthy', 2])
  assert.deepEqual(said([1, 0, 1], 1000), ['healthy', 1])
  assert.deepEqual(said([1, 1, 1, 0], 1000), ['healthy', 0])
  assert.equal(
    after([1, 2, 3, 4, 5, 6, 7], 1000)
      .log.map((r) => r.ExitCode)
      .join(),
    '3,4,5,6,7',
  )
  assert.equal(pauseOf(after([1], 10), check, 10), 10)
  assert.equal(pauseOf(after([0], 10), check, 10), 30_000)
  assert.equal(pauseOf(after([1], 10), check, 1000), 30_000)
})

test('folders that an image declares get a volume each, where nothing else is put there', () => {
  const asked = (volumes: string[], tmpfs: string[] = [], more = {}) =>
    ({
      image: 'x',
      volumes: volumes.map((target) => ({ source: 'named', target, readOnly: false })),
      tmpfs: tmpfs.map((target) => ({ target, options: '' })),
      ...more,
    }) as unknown as Parameters<typeof volumesOf>[0]
  const targets = (...args: Parameters<typeof asked>) =>
    volumesOf(asked(...args), { '/data': {}, '/var/lib/x/': {}, odd: {}, '/': {} }).map((v) => [v.target, v.anonymous])
  assert.deepEqual(targets([]), [
    ['/data', true],
    ['/var/lib/x', true],
  ])
  assert.deepEqual(targets(['/data/'], ['/var/lib/x']), [['/data', undefined]])
  assert.deepEqual(targets([], [], { ignoreImageVolumes: true }), [])
  const [one, two] = volumesOf(asked([]), { '/a': {}, '/b': {} })
  assert.match(one!.source, /^[0-9a-f]{64}$/)
  assert.notEqual(one!.source, two!.source)
  const many = Object.fromEntries(Array.from({ length: 7 }, (_, n) => [`/v${n}`, {}]))
  assert.throws(() => volumesOf(asked([]), many), { code: 'too-many-volumes' })
})
