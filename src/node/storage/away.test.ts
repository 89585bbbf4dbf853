import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { cpSync, existsSync, readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { freePort, programFlags, run, sleep, until } from '#sys'
import { decodeTrace } from '#zosfs'
import { node, published, put, top } from './storage.fixture.ts'

test('kill -9 and restart under a reader; everything posted again', async () => {
  await using n = await node()
  const image = await put(n, 'vm-1')
  const bound = await n.call<{ hashStart: number }>('POST', '/exports/vm-1/bind', { digest: published.digest })
  const out = join(top, 'through')
  let finished = false
  const reading = run('qemu-img', [
    'convert',
    '-r',
    '2M',
    '-O',
    'raw',
    '--image-opts',
    `driver=raw,size=${bound.hashStart * 4096},${image.replace('driver=raw,', '')}`,
    out,
  ]).finally(() => {
    finished = true
  })
  await until('reads', 20_000, async () => ((await n.call('GET', '/exports/vm-1')).requests as number) > 0)
  assert.equal(finished, false)
  n.child.kill('SIGKILL')
  await sleep(200)
  await n.start()
  await put(n, 'vm-1')
  await n.call('POST', '/exports/vm-1/bind', { digest: published.digest })
  await reading
  await run('fsck.erofs', ['--extract', out])
})

test('while the hub is away reads wait, and go on when it is back', async () => {
  const hub = join(top, 'hub-away')
  cpSync(join(top, 'hub'), hub, { recursive: true })
  await using n = await node({ hub: `dir:${hub}` })
  const image = await put(n, 'vm-1')
  const { hashStart } = await n.call<{ hashStart: number }>('POST', '/exports/vm-1/bind', { digest: published.digest })
  renameSync(hub, `${hub}-gone`)
  const out = join(top, 'waited')
  let finished = false
  const reading = run('qemu-img', [
    'dd',
    '-O',
    'raw',
    'bs=1M',
    `count=${Math.ceil(hashStart / 256)}`,
    '--image-opts',
    `if=${image}`,
    `of=${out}`,
  ]).finally(() => {
    finished = true
  })
  await sleep(1000)
  assert.equal(finished, false)
  renameSync(`${hub}-gone`, hub)
  await reading
  assert.equal((await n.call('GET', '/exports/vm-1')).errors, 0)
})

/** The hub as a process of its own, over HTTP. */
async function hubProcess(dir: string, port = 0) {
  const main = join(import.meta.dirname, '../../hub/main.ts')
  const wanted = port || (await freePort())
  const child = spawn(process.execPath, [...programFlags(), main, '--dir', dir, '--port', `${wanted}`])
  const exit = new Promise((resolve) => child.once('exit', resolve))
  const kill = async () => {
    child.kill('SIGKILL')
    await exit
  }
  const answers = () =>
    fetch(`http://127.0.0.1:${wanted}/`).then(
      () => true,
      () => false,
    )
  try {
    await until('the hub', 60_000, answers)
  } catch (error) {
    await kill()
    throw error
  }
  return { port: wanted, kill, [Symbol.asyncDispose]: kill }
}

test('the hub is killed in the middle of a read and stays away for seconds: the read waits, and ends well', async () => {
  await using hub = await hubProcess(join(top, 'hub'))
  await using n = await node({ hub: `http://127.0.0.1:${hub.port}` })
  const image = await put(n, 'vm-1')
  const { hashStart } = await n.call<{ hashStart: number }>('POST', '/exports/vm-1/bind', { digest: published.digest })
  const stat = () => n.call<{ requests: number; errors: number }>('GET', '/exports/vm-1')
  const out = join(top, 'hub-killed')
  let finished = false
  const whole = `driver=raw,size=${hashStart * 4096},${image.replace('driver=raw,', '')}`
  const reading = run('qemu-img', ['convert', '-r', '2M', '-O', 'raw', '--image-opts', whole, out]).finally(() => {
    finished = true
  })
  await until('reads', 20_000, async () => (await stat()).requests > 0)
  await hub.kill()
  await sleep(3000)
  assert.equal(finished, false)
  await using _back = await hubProcess(join(top, 'hub'), hub.port)
  await reading
  assert.equal((await stat()).errors, 0)
  await run('fsck.erofs', ['--extract', out])
})

test('what a start touched is kept beside the manifest: a node that never ran it fetches that, then fills in the rest', async () => {
  const hub = join(top, 'hub-traced')
  cpSync(join(top, 'hub'), hub, { recursive: true })
  await using first = await node({ hub: `dir:${hub}` })
  const image = await put(first, 'vm-1')
  await first.call('POST', '/exports/vm-1/bind', { digest: published.digest })
  await run('qemu-io', ['-r', '-c', 'read 3M 1M', '--image-opts', image])
  await first.call('POST', '/exports/vm-1/ready')
  await until('the trace', 20_000, () => existsSync(join(hub, 'traces', published.digest)))

  await using server = await hubProcess(hub)
  await using n = await node({ hub: `http://127.0.0.1:${server.port}` })
  await put(n, 'vm-2')
  type Stat = { selfContained: boolean; requests: number; fill?: { total: number; done: number } }
  const stat = () => n.call<Stat>('GET', '/exports/vm-2')
  await n.call('POST', '/exports/vm-2/bind', { digest: published.digest })
  const order = decodeTrace(readFileSync(join(hub, 'traces', published.digest)))!
  assert.ok(order.length >= 8, `${order.length} extents`)
  await until(
    'the prefetch',
    20_000,
    async () => (await n.call<{ fetched: number }>('GET', '/status')).fetched > order.length,
  )
  assert.deepEqual([(await stat()).requests, (await stat()).selfContained], [0, false])

  await n.call('POST', '/exports/vm-2/ready')
  const filled = await until('the fill', 20_000, async () => ((await stat()).selfContained ? stat() : undefined))
  assert.equal(filled.fill?.done, filled.fill?.total)
  await server.kill() // and from now on it needs nobody
  n.child.kill('SIGKILL')
  await n.start()
  const again = await put(n, 'vm-2')
  const { hashStart } = await n.call<{ hashStart: number }>('POST', '/exports/vm-2/bind', { digest: published.digest })
  const whole = `driver=raw,size=${hashStart * 4096},${again.replace('driver=raw,', '')}`
  await run('qemu-img', ['convert', '-O', 'raw', '--image-opts', whole, join(top, 'alone')])
  await run('fsck.erofs', ['--extract', join(top, 'alone')])
})
