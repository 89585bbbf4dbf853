import assert from 'node:assert/strict'
import test from 'node:test'
import type { Watched } from './pinned.ts'
import { deployment, ID, keeper, Model, MUCH } from './testing/compute.ts'

type Hex = `0x${string}`

const OTHER = `0x${'d2'.repeat(32)}` as Hex
const phases = (words: Awaited<ReturnType<ReturnType<typeof keeper>>>, id: Hex) =>
  [...(words.get(id)?.values() ?? [])].map((s) => s.phase)

test('what does not fit beside what is here waits, of each resource; frozen keeps its room, what ended gives it up', async (t) => {
  for (const lane of ['cpu', 'ram', 'ssd', 'uplink'] as const) {
    // retries are told apart by the clock alone
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
    const model = new Model()
    const first = await deployment(1)
    const each = first.consent.placed!.slots[0]!.resources[lane]
    const keep = keeper(model, { ...MUCH, [lane]: each * 3 - 1 })
    const second = { ...(await deployment(2)), name: 'web' }
    const at = async (a: Watched, b: Watched) => {
      t.mock.timers.tick(61_000)
      return keep({ [ID]: a, [OTHER]: b })
    }
    // of two that begin at once either may have the room
    await keep({ [ID]: first })
    const words = await at(first, second)
    assert.deepEqual(
      [phases(words, ID), phases(words, OTHER)],
      [
        ['running', 'running'],
        ['failed', 'failed'],
      ],
      lane,
    )
    assert.match(words.get(OTHER)!.get(0)!.reason, /^Make room: it needs \S+.*, free is \S+.* on this node$/)
    assert.equal(model.running().length, 2)
    // another plane, which remembers nothing, gives none away either
    const anew = keeper(model, { ...MUCH, [lane]: each * 3 - 1 })
    assert.deepEqual(phases(await anew({ [OTHER]: second, [ID]: first }), OTHER), ['failed', 'failed'])
    const frozen = { ...first, consent: { ...first.consent, frozenUntil: 9e9 } }
    await at(frozen, second)
    assert.deepEqual(phases(await at(frozen, second), OTHER), ['failed', 'failed'], 'a freeze frees nothing')
    const step = first.consent.sequence
    const back = { ...first, back: Object.fromEntries([0, 1].map((key) => [key, { step, since: Date.now() }])) }
    await at(back, second)
    assert.deepEqual(phases(await at(back, second), OTHER), ['running', 'running'], 'taken back, it is free')
    assert.deepEqual(phases(await at(first, second), ID), ['failed', 'failed'], 'and not to be had twice')
    t.mock.timers.reset()
  }
})

test('an update that does not fit leaves the version before running', async () => {
  const model = new Model()
  const first = await deployment(1)
  const keep = keeper(model, { ...MUCH, ram: 128 })
  await keep({ [ID]: first })
  const larger = await deployment(2, 'unless-stopped', { ram: 100 }, { memory: 100 })
  const words = await keep({ [ID]: larger })
  assert.match(words.get(ID)!.get(0)!.reason, /it needs 100 MiB memory, free is 64 MiB memory on this node/)
  assert.deepEqual(model.running(), ['1'.repeat(64), '1'.repeat(64)])
})

test('the node itself keeps what may not be where it stands: by the signed rules, and by the sealed spec', async () => {
  const bytes2 = (country: string) => `0x${Buffer.from(country).toString('hex')}` as Hex
  const said = async (rules: object, geo: object) => {
    const model = new Model()
    const d = await deployment(1, 'no', {}, Object.keys(geo).length > 0 ? { geo } : {})
    Object.assign(d.consent.placed!, { rules: { allow: [], deny: [], farms: 0, ...rules } })
    const { phase, reason } = (await keeper(model)({ [ID]: d })).get(ID)!.get(0)!
    return phase === 'running' ? phase : reason
  }
  const no = 'Start here: the geo rules forbid it in DE-BY'
  assert.equal(await said({ allow: [bytes2('FR')] }, {}), no)
  assert.equal(await said({ deny: [bytes2('DE')] }, {}), no)
  assert.equal(await said({}, { countries: ['FR', 'BE'] }), no)
  assert.equal(await said({}, { notCountries: ['DE'] }), no)
  assert.equal(await said({}, { regions: ['DE-BE'] }), no)
  const here = { countries: ['DE'], notCountries: ['FR'], regions: ['DE-BY'] }
  assert.equal(await said({ allow: [bytes2('DE')], deny: [bytes2('FR')] }, here), 'running')
})
