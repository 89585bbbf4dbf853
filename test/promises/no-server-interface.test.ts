import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { after, test } from 'node:test'
import { startGrid } from '../grid.ts'
import { networkSockets } from '../sockets.ts'

const root = { skip: process.getuid?.() !== 0 && 'looking into other namespaces needs root' }
const grid = await startGrid(1)
after(() => grid[Symbol.dispose]())
const { z, second, spec, runs, nodes } = grid

const commandOf = (pid: number | string): string => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ')
  } catch {
    return '' // it ended in between
  }
}

/** Every process of the node: its supervisor, its planes, its microVMs. */
function processes(): { pid: number; name: string }[] {
  return readdirSync('/proc').flatMap((p) => {
    const line = /^\d+$/.test(p) ? commandOf(p) : ''
    const ours = line.includes(grid.home('node1')) || line.includes(grid.run('node1'))
    return ours ? [{ pid: Number(p), name: line.slice(0, 60) }] : []
  })
}

/** What each of ALL has that SOCKETS finds, and how many were looked at: one that makes a machine ready may end meanwhile. */
function look(all: ReturnType<typeof processes>, sockets: (pid: number) => string[]) {
  const found = all.flatMap(({ pid, name }) => {
    try {
      return [{ name, sockets: sockets(pid) }]
    } catch (error) {
      if (commandOf(pid) !== '') throw error
      return []
    }
  })
  return { count: found.length, found: found.filter((one) => one.sockets.length > 0) }
}

test('while a workload with a port runs, nothing on the node listens', root, async () => {
  z('deploy', spec('web', ['ports: [80]']), '--as', 'alice')
  second()
  await runs('web')
  assert.equal(await grid.page('web/0'), 'hello from a node\n')
  const all = processes()
  const { count, found } = look(all, (pid) => networkSockets(pid, true))
  assert.ok(count >= 6, `${count} processes: a supervisor, four planes and a microVM at least`)
  assert.deepEqual(found, [], 'it listens')
  // its overlay reaches others through a relay that it dials, and chain and hub over that: nobody speaks to anything else
  const { relay } = grid.j<{ relay: { port: number } }>('grid', 'status')
  const elsewhere = (line: string) => !line.includes(` 127.0.0.1:${relay.port} `)
  const others = look(all, (pid) => networkSockets(pid).filter(elsewhere))
  assert.deepEqual(others.found, [], 'it speaks elsewhere')
  assert.ok(networkSockets(nodes()[0]!.pids.network).length > 0, 'it has no peer')
})

test('the look-up sees a listener where there is one', root, async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((r) => server.once('listening', r))
  assert.equal(networkSockets(process.pid, true).length, 1)
  server.close()
})
