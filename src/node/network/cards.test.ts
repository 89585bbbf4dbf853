import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { type Daemon, identityOf } from '#mycelium'
import { until } from '#sys'
import { keepCards } from './cards.ts'
import { cardsDir } from './place.ts'

const run = mkdtempSync(join(tmpdir(), 'zos-cards-'))
after(() => rmSync(run, { recursive: true, force: true }))

/** Stands for the overlay, which refuses more often at first than there are notices of the folder's change: it is looked at again. */
const calls: string[] = []
let refuses = 5
const daemon = {
  attach: async ({ secret }: { secret: Uint8Array }) => {
    if (refuses-- > 0) throw new Error('not now')
    calls.push(`attach ${secret[0]}`)
  },
  detach: async (publicKey: string) => {
    calls.push(`detach ${publicKey}`)
    return true
  },
  reform: async () => true,
} as unknown as Daemon
const network = { domain: 'x.zos', members: [], people: [], ports: [] }
const secretOf = (n: number) => new Uint8Array(32).fill(n)

test('a card is attached in the end: refused first, plugged in before it is known or after, its identity in use elsewhere', async () => {
  const cards = keepCards(daemon, run, () => {})
  after(() => cards.close())
  const dir = cardsDir(run)
  const shown = (name: string) => until(name, 10_000, async () => cards.list().find((one) => one.name === name), 20)
  const plug = (name: string) => symlinkSync(`/there/${name}`, join(dir, name))
  plug('one')
  await cards.set('one', { secret: secretOf(1), network })
  assert.deepEqual(cards.list(), [], 'it was refused')
  await shown('one')
  await cards.set('two', { secret: secretOf(2), network })
  plug('two')
  await shown('two')
  await cards.set('again', { secret: secretOf(1), network })
  plug('again')
  await cards.set('again', { secret: secretOf(1), network })
  assert.equal(cards.list().length, 2, 'one identity is attached once')
  rmSync(join(dir, 'one'))
  await shown('again')
  const { publicKey } = identityOf(secretOf(1))
  assert.deepEqual(calls, ['attach 1', 'attach 2', `detach ${publicKey.toString('hex')}`, 'attach 1'])
})
