import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, before, describe } from 'node:test'
import { sleep } from '#sys'
import { ensureZinit } from '../zinit.ts'
import type { CopyItem } from './agent.ts'
import { all, ask, COLD_BOOT, least, sha } from './ask.fixture.ts'
import { connectAgent } from './client.ts'
import { programs } from './programs.fixture.ts'
import { surroundings } from './surroundings.fixture.ts'
import { bootVm, cacheDir, makeRoot, missing, processOf, type Root, startSpec, type TestVm } from './vm.fixture.ts'

describe('the agent in a microVM', {
  skip: missing() ?? false,
  timeout: 280_000,
}, () => {
  let dir: string
  let root: Root
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'zos-agent-'))
    root = await makeRoot(dir)
  })
  after(() => rm(dir, { recursive: true, force: true }))

  test('a workload with a writable layer, from its start to its exit', async (t) => {
    await using vm: TestVm = await bootVm(join(dir, 'a'), root)
    let agent = await connectAgent(vm.socket, { fresh: true, timeout: COLD_BOOT })
    // the main process waits for its input line before each of its acts
    const script = 'read _; cat /data.bin; read _; sha256sum; echo last words >&2; exit 7'
    const received: Buffer[] = []
    let durable = 0
    const onOutput = ({ offset, data }: { offset: number; data: Buffer }) => {
      assert.equal(offset, durable)
      received.push(Buffer.from(data))
      durable += data.length
      agent.ack(durable)
    }
    await agent[Symbol.asyncDispose]()
    agent = await connectAgent(vm.socket, { onOutput })
    assert.equal(agent.state.phase, 'idle')
    await agent.warmUp({ time: `${Date.now()}000000`, entropy: randomBytes(64).toString('base64') })
    await assert.rejects(agent.exec(processOf('true')), { code: 'not-running' })
    await agent.start(
      startSpec(
        root,
        { ...processOf('sh', '-c', script), stdin: true },
        {
          memoryLimit: 96 << 20,
          volumes: [{ serial: 'vol0', target: '/seed', readOnly: false }],
          tmpfs: [{ target: '/tmp', options: 'size=1m' }],
          network: { address: '04aabbccddeeff000123456789abcdef', ipv4: 0x0a90_0002, mtu: 9000 },
        },
      ),
    )

    await surroundings(t, agent, vm.nic)
    await programs(t, agent, script)

    await t.test('streams: both ways, whole, with end of input', async () => {
      const data = randomBytes(3 << 20)
      const { out, exit } = await ask(agent, ['cat'], {}, data)
      assert.equal(sha(out), sha(data))
      assert.equal(exit.code, 0)
      const both = await ask(agent, ['sh', '-c', 'echo out; echo err >&2; sleep 100 & exit 4'])
      assert.deepEqual([both.text, both.err, both.exit.code], ['out\n', 'err\n', 4])
    })

    await t.test('a slow reader blocks the program, not the agent', async () => {
      const session = await agent.exec(processOf('cat', '/data.bin'))
      await sleep(500)
      // its pipe, the window and our stream are full; the agent has kept nothing
      const { agentRss } = await agent.stats()
      assert.ok(agentRss < 2 << 20, `the agent has ${agentRss} bytes resident`)
      assert.equal(sha(await all(session.stdout)), sha(root.data))
      session.stderr.resume()
      assert.equal((await session.exit).code, 0)
    })

    await t.test('budgets: its file, its memory, its answers', async () => {
      assert.ok((await stat((await ensureZinit({ cacheDir })).path)).size < 1_000_000)
      // budgeted: 0.5 ms (guest/README.md); ten times that on a machine that has other things to do
      const frame = await least(t, 'a frame and its answer', 300, () => assert.rejects(agent.signal('NOPE')))
      assert.ok(frame < 5, `${frame} ms`)
      // what an exec costs above that is the guest's fork and exec
      const exec = await least(t, 'an exec, to its exit', 30, () => ask(agent, ['true']))
      assert.ok(exec < 100, `${exec} ms`)
      const { agentRss } = await agent.stats()
      assert.ok(agentRss < 2_000_000, `the agent has ${agentRss} bytes resident`)
    })

    await t.test(
      'a port of its loopback is dialled: refused while nobody listens, whole both ways when somebody does',
      async () => {
        await assert.rejects(agent.dial(81), { code: 'refused' })
        const server = await agent.exec(processOf('nc', '-ll', '-p', '7000', '-e', 'cat'))
        for (let i = 0; ; i++) {
          const line = await agent.dial(7000).catch(() => null)
          if (!line && i < 100) {
            await sleep(50)
            continue
          }
          const data = randomBytes(1 << 20)
          line!.end(data)
          assert.equal(sha(await all(line!)), sha(data))
          break
        }
        await server.signal('KILL')
      },
    )

    await t.test('a copy keeps owners, times, modes and links, and none of its paths leads out', async () => {
      const files: CopyItem[] = []
      const content = randomBytes(300_000)
      const entry = { uid: 5, gid: 6, mtime: '1500000000123456789', size: 0 }
      files.push({ entry: { ...entry, path: 'd', type: 'directory', mode: 0o750 } })
      files.push({
        entry: { ...entry, path: 'd/f', type: 'file', mode: 0o4755, size: content.length },
        content: [content] as never,
      })
      files.push({ entry: { ...entry, path: 'd/\udcff', type: 'symlink', mode: 0o777, linkname: 'f' } })
      files.push({ entry: { ...entry, path: 'd/h', type: 'hardlink', mode: 0o4755, linkname: 'd/f' } })
      await agent.copyIn('/home', files, { keepOwner: true })
      const back: string[] = []
      for await (const { entry: e, content: bytes } of agent.copyOut('/home/d')) {
        const parts: Uint8Array[] = []
        for await (const part of bytes ?? []) parts.push(part)
        const body = Buffer.concat(parts)
        if (e.type === 'file') assert.equal(sha(body), sha(content))
        back.push(`${e.path}|${e.type}|${e.mode.toString(8)}|${e.uid}:${e.gid}|${e.mtime}|${e.linkname ?? ''}`)
      }
      assert.deepEqual(back, [
        '|directory|750|5:6|1500000000123456789|',
        'f|file|4755|5:6|1500000000123456789|',
        'h|hardlink|4755|5:6|1500000000123456789|f',
        `\udcff|symlink|777|5:6|${back[3]?.split('|')[4]}|f`,
      ])
      assert.equal((await agent.stat('/home/d/f'))?.size, content.length)
      assert.equal((await agent.stat('/home/d/\udcff', { follow: true }))?.resolved, '/home/d/f')
      assert.equal(await agent.stat('/home/none'), null)
      await assert.rejects(agent.copyIn('/home/none', []), /no such directory/)
      const evil: CopyItem = { entry: { ...entry, path: '../../x', type: 'directory', mode: 0o755 } }
      await assert.rejects(agent.copyIn('/home', [evil]), /leads out/)
      // an absolute link leads to the workload's own root
      await ask(agent, ['ln', '-s', '/etc', '/home/link'])
      assert.equal((await agent.stat('/home/link/passwd', { follow: true }))?.resolved, '/etc/passwd')
    })

    await t.test('16 MiB of output while the host dies again and again: nothing lost, nothing doubled', async () => {
      agent.stdin.write('\n')
      for (let i = 0; i < 12; i++) {
        await sleep(60)
        await agent[Symbol.asyncDispose]()
        agent = await connectAgent(vm.socket, { onOutput, resumeFrom: durable })
        assert.equal(agent.state.phase, 'running')
      }
      while (durable < root.data.length) await sleep(20)
      assert.equal(sha(Buffer.concat(received)), sha(root.data))
    })

    await t.test('8 MiB of input, the end of it, the exit after the last byte', async () => {
      const data = randomBytes(8 << 20)
      agent.stdin.write('\n')
      agent.stdin.end(data)
      assert.deepEqual(await agent.exited, { code: 7, signal: null, oom: false, reason: 'exit code 7' })
      const said = Buffer.concat(received).subarray(root.data.length).toString()
      assert.equal(said, `${sha(data)}  -\nlast words\n`)
      await assert.rejects(ask(agent, ['true']), { code: 'not-running' })
      // a later daemon is told again
      await agent[Symbol.asyncDispose]()
      agent = await connectAgent(vm.socket, { resumeFrom: durable })
      assert.equal((await agent.exited).code, 7)
    })

    await agent.powerOff(1000)
    await vm.gone
    assert.doesNotMatch(await vm.console(), /Error|panic|BUG/)
  })
})
