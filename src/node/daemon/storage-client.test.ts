import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sleep, until } from '#sys'
import { processesWith } from '#vm'
import { node, published, put } from '../storage/storage.fixture.ts'
import { openStorage } from './storage-client.ts'

test('a plane that does not answer is waited for; none is started beside it, whoever asks', async () => {
  await using n = await node()
  await put(n, 'kept')
  const { pid } = await n.call<{ pid: number }>('GET', '/status')
  const planes = () => processesWith(`--home\0${n.home}\0`).map(({ identity }) => identity.pid)
  const said: string[] = []
  n.child.kill('SIGSTOP')
  const opening = [1, 2].map(() => openStorage({ home: n.home, run: n.run, hub: undefined, log: (l) => said.push(l) }))
  // longer than one question is given
  await sleep(7000)
  const meanwhile = planes()
  n.child.kill('SIGCONT')
  const [one, other] = await Promise.all(opening)
  assert.deepEqual(meanwhile, [pid])
  assert.deepEqual([one!.pid(), other!.pid(), planes()], [pid, pid, [pid]])
  assert.deepEqual(said, [])
  assert.equal(typeof (await one!.image(published.digest)), 'object')

  // one that is killed is another matter: exactly one follows it
  process.kill(pid, 'SIGKILL')
  await one!.createExport('more', `${n.run}/more.nbd`)
  await until('the one that came too late to end', 20_000, () => planes().length === 1)
  assert.notEqual(planes()[0], pid)
  await until('both to know it', 20_000, () => one!.pid() === planes()[0] && other!.pid() === planes()[0])
  await Promise.all([one!.stop(), other!.stop()])
  assert.deepEqual(planes(), [])
})

test('a plane that cannot be says why, at once', async () => {
  await using n = await node()
  n.child.kill('SIGKILL')
  await until('its end', 10_000, () => n.child.exitCode !== null || n.child.signalCode !== null)
  const begun = performance.now()
  const opening = openStorage({ home: n.home, run: n.run, hub: 'ftp://h', log: () => {} })
  await assert.rejects(opening, { message: /^Start the storage plane: Open hub "ftp:\/\/h": not of the form dir:PATH/ })
  assert.ok(performance.now() - begun < 15_000)
})
