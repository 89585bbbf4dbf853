// The measure of measures: what the slow line does is what it was asked to do.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import test from 'node:test'
import { slowLink } from './slow-link.ts'

/** A server for one test. */
async function peer(onConnection: (socket: Socket) => void) {
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => {})
    onConnection(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as { port: number }).port,
    [Symbol.asyncDispose]: async () => {
      server.close()
    },
  }
}

test('asked for 30 ms there and back, it takes 30 ± 3: the quickest of twenty, as a busy machine only adds', async () => {
  await using echo = await peer((socket) => socket.pipe(socket))
  await using link = await slowLink(echo.port, { delay: 15, rate: 12.5e6 })
  const socket = connect({ port: link.port, noDelay: true })
  const times: number[] = []
  for (let n = 0; n < 21; n++) {
    const begun = performance.now()
    socket.write('x')
    await once(socket, 'data')
    if (n > 0) times.push(performance.now() - begun) // the first one opens the connection
  }
  socket.destroy()
  const rtt = Math.min(...times)
  assert.ok(Math.abs(rtt - 30) <= 3, `${rtt.toFixed(1)} ms`)
})

test('asked for 100 Mbit/s, four connections together get 100 ± 10: the quickest of ten, as a busy machine only takes', async () => {
  const size = 750_000
  const sent = Buffer.alloc(size, 'abcdefghijklmnopqrstuvwxyz01234')
  await using source = await peer((socket) => socket.end(sent))
  await using link = await slowLink(source.port, { delay: 15, rate: 12.5e6, jitter: 5 })
  const rates: number[] = []
  for (let n = 1; n <= 10; n++) {
    const begun = performance.now()
    const got = await Promise.all(
      Array.from({ length: 4 }, async () => {
        const parts: Buffer[] = []
        for await (const bytes of connect({ port: link.port })) parts.push(bytes as Buffer)
        return Buffer.concat(parts)
      }),
    )
    const seconds = (performance.now() - begun) / 1000
    for (const bytes of got) assert.ok(bytes.equals(sent))
    assert.equal(link.bytes.down, n * 4 * size)
    // the first byte took 15 to 20 ms
    rates.push((4 * size * 8) / 1e6 / (seconds - 0.0175))
  }
  assert.ok(Math.abs(Math.max(...rates) - 100) <= 10, `${rates.map((r) => r.toFixed(0)).join(', ')} Mbit/s`)
})
