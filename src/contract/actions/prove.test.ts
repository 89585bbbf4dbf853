import assert from 'node:assert/strict'
import test from 'node:test'
import { lyingEngine } from '../testing/lie.ts'
import { openWorld, root, slot } from '../testing/world.ts'
import { openGrid, proveDeployment, readConsent, readDeployment } from './index.ts'

test('state is proven under the block’s root; any false word in a proof is refused', { timeout: 180_000 }, async () => {
  await using w = await openWorld()
  const { grid } = w
  const n = await w.node('n')
  const { group } = await w.team()
  assert.equal((await proveDeployment(grid, group, 'web')).state, 'none', 'absence is proven as well')
  await w.agree(group, 'web', 'deploy', { specRoot: root(3), slots: [slot(0, n.id)] })
  await w.agree(group, 'web', 'freeze')
  const keys = [0, 128, 256]
  const p = await proveDeployment(grid, group, 'web', keys)
  const d = await readDeployment(grid, group, 'web')
  const { state, group: team } = await readConsent(grid, group, 'web')
  assert.deepEqual(
    [p.state, p.sequence, p.version, p.head, p.specRoot],
    [d.state, d.sequence, d.version, d.head, root(3)],
  )
  assert.deepEqual([p.head, p.set], [state.head, team.digest], 'and is what the signatures say')
  assert.ok(p.frozenUntil > 2 ** 39)
  assert.deepEqual(
    [...p.bookings],
    [
      [0, n.id],
      [128, 0],
      [256, 0],
    ],
  )

  let at = 0
  let places = 0
  const lying = (change: (text: string) => string) =>
    lyingEngine(
      grid.engine,
      () => (method, _, answer) => (method === 'eth_getProof' ? JSON.parse(change(JSON.stringify(answer))) : answer),
    )
  const proofsOf = (text: string) => [...text.matchAll(/"0x[0-9a-f]{60,}"/g)]
  const flip = lying((text) => {
    const found = proofsOf(text)
    places = found.length
    const m = found[at]!
    const i = m.index + 3 + Math.floor((m[0].length - 6) / 2)
    return text.slice(0, i) + (text[i] === '1' ? '2' : '1') + text.slice(i + 1)
  })
  let refused = 0
  do {
    const answer = await proveDeployment(openGrid(flip, grid.contract), group, 'web', keys).catch((error) => {
      assert.equal(error.code, 'bad-proof')
      refused++
    })
    // fields that only repeat what the proof shows are not believed, so a lie in them changes nothing
    if (answer) assert.deepEqual(answer, p)
  } while (++at < places)
  assert.ok(refused > 4, `${refused} of ${places} flips were refused`)
  const cut = lying((text) => text.replace(/"storageProof":\[.*\]/, '"storageProof":[]'))
  await assert.rejects(proveDeployment(openGrid(cut, grid.contract), group, 'web'), { code: 'bad-proof' })
})
