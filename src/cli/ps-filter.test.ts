import assert from 'node:assert/strict'
import test from 'node:test'
import type { WorkloadView } from '#wire'
import { filterOf } from './ps-filter.ts'

const view = (name: string, state: string, labels = {}): WorkloadView =>
  ({ id: `${name}0123`, name, image: 'box', state, exitCode: state === 'exited' ? 3 : null, labels }) as WorkloadView

const all = [view('web', 'running', { a: '1', b: '' }), view('db', 'exited', { a: '2' }), view('web-2', 'paused')]
const names = (...words: string[]) => all.filter(filterOf(words).fits).map((w) => w.name)

test('of the same thing one filter must fit, of labels all, of different things all', () => {
  assert.deepEqual(names(), ['web', 'db', 'web-2'])
  assert.deepEqual(names('name=web'), ['web', 'web-2'])
  assert.deepEqual(names('name=^/web$', 'name=db'), ['web', 'db'])
  assert.deepEqual(names('status=running', 'status=exited'), ['web', 'db'])
  assert.deepEqual(names('name=web', 'status=paused'), ['web-2'])
  assert.deepEqual(names('label=a'), ['web', 'db'])
  assert.deepEqual(names('label=a=1', 'label=b'), ['web'])
  assert.deepEqual(names('label=a', 'label=c'), [])
  assert.deepEqual(names('exited=3'), ['db'])
  assert.deepEqual(names('id=db01', 'ancestor=box'), ['db'])
})

test('only filters by state look at what does not run; what is no filter is refused', () => {
  assert.equal(filterOf(['name=x']).everyState, false)
  assert.equal(filterOf(['status=exited']).everyState, true)
  for (const bad of ['', 'name', 'constructor=x', 'status=up', 'exited=', 'name=('])
    assert.throws(() => filterOf([bad]), { code: 'usage' }, bad)
})
