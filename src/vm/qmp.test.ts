import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { connectQmp } from './qmp.ts'

/** A QEMU that answers each line with what ANSWER returns; '' is silence. */
async function fake(answer: (line: string, socket: Socket) => string): Promise<{ path: string } & AsyncDisposable> {
  const dir = mkdtempSync(join(tmpdir(), 'qmp-'))
  const path = join(dir, 'qmp')
  const server: Server = createServer((socket) => {
    socket.on('error', () => {})
    socket.write('{"QMP": {"version": {}, "capabilities": []}}\r\n')
    socket.setEncoding('utf8').on('data', (text: string) => {
      for (const line of text.split('\n').filter(Boolean)) {
        const { execute, id } = JSON.parse(line) as { execute: string; id: number }
        if (execute === 'qmp_capabilities') socket.write(`{"return": {}, "id": ${id}}\r\n`)
        else socket.write(answer(line, socket))
      }
    })
  })
  await new Promise<void>((done) => server.listen(path, done))
  return {
    path,
    async [Symbol.asyncDispose]() {
      server.close()
      rmSync(dir, { recursive: true })
    },
  }
}

const idOf = (line: string) => (JSON.parse(line) as { id: number }).id

test('answers find their question whatever their order, and events their listeners', async () => {
  const held: string[] = []
  await using server = await fake((line) => {
    held.push(`{"return": ${idOf(line)}, "id": ${idOf(line)}}\r\n`)
    // the second answer first, an event between them, cut in the middle of a line
    return held.length === 2 ? `${held[1]}{"event": "STOP", "timestamp": {}}\r\n${held[0]}` : ''
  })
  await using qmp = await connectQmp(server.path)
  const events: string[] = []
  qmp.listen(({ event }) => events.push(event))
  const [a, b] = await Promise.all([qmp.ask<number>('a'), qmp.ask<number>('b')])
  assert.equal(b, a + 1)
  assert.deepEqual(events, ['STOP'])
})

test('a refusal, silence and a death each have their own code', async () => {
  await using server = await fake((line, socket) => {
    if (line.includes('"no"')) return `{"error": {"class": "x", "desc": "not now"}, "id": ${idOf(line)}}\r\n`
    if (line.includes('"die"')) socket.destroy()
    return ''
  })
  await using qmp = await connectQmp(server.path)
  await assert.rejects(qmp.ask('no'), { code: 'qemu-refused', message: /not now/ })
  await assert.rejects(qmp.ask('silence', {}, { timeout: 30 }), { code: 'deadline', message: /"silence".*0.03 s/ })
  const both = [qmp.ask('wait'), qmp.ask('die')]
  for (const lost of both) await assert.rejects(lost, { code: 'qemu-gone' })
  await qmp.closed
  await assert.rejects(qmp.ask('later'), { code: 'qemu-gone' })
})

test('what is not JSON ends the connection instead of the daemon', async () => {
  await using server = await fake(() => 'rubbish\n')
  await using qmp = await connectQmp(server.path)
  await assert.rejects(qmp.ask('a'), { code: 'qemu-gone' })
})

test('a socket that never comes is given up on time', async () => {
  const begun = performance.now()
  await assert.rejects(connectQmp('/nonexistent/qmp', 60), { code: 'qemu-gone' })
  assert.ok(performance.now() - begun < 2000)
})
