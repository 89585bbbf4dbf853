import assert from 'node:assert/strict'
import test from 'node:test'
import { noConsent, type Transition } from '#contract'
import { othersOf } from './cards.ts'
import type { Watched } from './pinned.ts'
import { sharedImages } from './shared.ts'

type Hex = `0x${string}`
const [ME, NOW] = [7, 1_000_000]
const [web, api] = [`0x${'d1'.repeat(32)}`, `0x${'d2'.repeat(32)}`] as [Hex, Hex]

const placed = (nodes: number[], more: object = {}): Watched => {
  const slots = nodes.map((node, index) => ({ index, node }))
  const consent = {
    ...noConsent('web'),
    status: 'active',
    placed: { slots, expiry: 0 } as unknown as Transition,
    ...more,
  }
  return { consent } as unknown as Watched
}

test('an image of a group’s own is for the nodes its deployment is placed on, any other for all, one not known for nobody', () => {
  const here = [
    { name: 'web.0', digest: 'own' },
    { name: 'api.0', digest: 'open' },
    { name: 'old.0', digest: 'of an earlier life' },
  ]
  const noted = new Map([
    ['web.0', { id: web, isPrivate: true }],
    ['api.0', { id: api, isPrivate: false }],
  ])
  const of = (deployments: Record<Hex, Watched>, notes = noted) => sharedImages(deployments, here, notes, ME, NOW)
  assert.deepEqual(of({ [web]: placed([9, ME, 8]), [api]: placed([ME]) }), [
    { digest: 'own', nodes: [8, 9] },
    { digest: 'open' },
  ])
  // ended, over, or not known: nobody's
  for (const gone of [
    placed([8], { status: 'cancelled' }),
    placed([8], { placed: { slots: [{ node: 8 }], expiry: 1 } }),
  ])
    assert.deepEqual(of({ [web]: gone })[0], { digest: 'own', nodes: [] })
  assert.deepEqual(of({})[0], { digest: 'own', nodes: [] })
  // one image of two deployments: both groups' nodes; of one that is open: all
  const both = here.map(({ name }) => ({ name, digest: 'one' }))
  const twice = (isPrivate: boolean) => new Map([...noted, ['api.0', { id: api, isPrivate }]])
  const two = { [web]: placed([8]), [api]: placed([9]) }
  assert.deepEqual(sharedImages(two, both, twice(true), ME, NOW), [{ digest: 'one', nodes: [8, 9] }])
  assert.deepEqual(sharedImages(two, both, twice(false), ME, NOW), [{ digest: 'one' }])

  const nodes = [
    { id: 8, key: 'k8' },
    { id: 10, key: 'k10' },
  ]
  assert.deepEqual(othersOf(nodes, [{ digest: 'own', nodes: [8, 9] }, { digest: 'open' }]), {
    keys: ['k8', 'k10'],
    images: [{ digest: 'own', to: ['k8'] }, { digest: 'open' }],
  })
})
