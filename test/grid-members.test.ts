// Members that are no plain keys, through the commands: a passkey and a contract wallet agree on the group's next epoch.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { deployContracts, openEmbedded, openRelayer } from '#contract'
import { programFlags } from '#sys'
import { send } from '../src/contract/actions/relayer.ts'
import { sayOf, WALLET } from '../src/contract/testing/wallet.ts'
import { ROOT } from './harness.ts'

type Hex = `0x${string}`

test('a passkey proposes, a contract wallet approves, and the commands say what each is', {
  timeout: 300_000,
}, async () => {
  const home = mkdtempSync(join(tmpdir(), 'zos-members-'))
  const zos = (...args: string[]) =>
    new Promise<{ code: number | null; out: string; err: string }>((done) => {
      const main = join(ROOT, 'src/cli/main.ts')
      const env = { ...process.env, ZOS_HOME: home, ZOS_PASSPHRASE: 'a passphrase', ZOS_GRID: join(home, 'grid.json') }
      const child = spawn(process.execPath, [...programFlags(), main, ...args], { env })
      let [out, err] = ['', '']
      child.stdout.on('data', (d) => (out += d))
      child.stderr.on('data', (d) => (err += d))
      child.on('close', (code) => done({ code, out, err }))
    })
  const must = async (...args: string[]) => {
    const { code, out, err } = await zos(...args)
    assert.equal(code, 0, `zos ${args.join(' ')}: ${err}`)
    return { out, err }
  }
  try {
    await using engine = await openEmbedded({ dir: join(home, 'chain') })
    const { port } = (await engine.serve({ port: 0 })).address() as AddressInfo
    const relayer = openRelayer()
    const { contract, since } = await deployContracts(engine, relayer)
    const { chainId, genesis } = engine
    const rpc = [`http://127.0.0.1:${port}`]
    const facts = {
      format: 'zos-grid/1',
      chainId,
      genesis,
      contract,
      since: Number(since),
      rpc,
      hub: ['http://127.0.0.1:1'],
      peers: [],
    }
    mkdirSync(home, { recursive: true })
    writeFileSync(join(home, 'grid.json'), JSON.stringify(facts))
    const wallet = (await send(engine, relayer, { data: WALLET })).contract!.toLowerCase() as Hex

    await must('key', 'new', 'alice')
    const made = JSON.parse((await must('key', 'new', 'phone', '--passkey', '--json')).out)
    assert.match(made.address, /^0x[0-9a-f]{128}$/)
    const device = `p256:${made.address}`
    const created = await must(
      'group',
      'create',
      'team',
      '--member',
      'alice',
      '--member',
      'phone',
      '--member',
      `${wallet},weight=2`,
      '--member',
      `${device},roles=read,weight=0`,
      '--threshold',
      '3',
    )
    assert.match(created.err, /is a contract: its approvals count on nodes only with a proven state/)
    const shown = JSON.parse((await must('group', 'show', 'team', '--json')).out)
    const kinds = (shown.members as { name: string; kind: string }[]).map((m) => `${m.name.slice(0, 5)} ${m.kind}`)
    assert.deepEqual(kinds.map((k) => k.replace(/^0x\S+/, '0x')).sort(), [
      '0x P-256 key',
      '0x contract',
      'alice key',
      'phone passkey',
    ])

    const p = JSON.parse((await must('group', 'change', 'team', '--threshold', '2', '--as', 'phone', '--json')).out)
    assert.deepEqual([p.approvals, p.needs], [1, 3])
    const tooEarly = await zos('approve', p.id, '--as', `alice@${wallet}`)
    assert.match(tooEarly.err, /the signature of member \d is not good/)
    await send(engine, relayer, { to: wallet, data: sayOf(p.id, true) })
    assert.match((await must('approve', p.id, '--as', `alice@${wallet}`)).out, /3 of 3, agreed on/)
    assert.equal(JSON.parse((await must('group', 'show', 'team', '--json')).out).epoch, 2)

    for (const [args, says] of [
      [
        ['group', 'create', 'x', '--member', 'passkey:0x12', '--threshold', '1'],
        /Read member "passkey:0x12": write KEY/,
      ],
      [
        ['group', 'change', 'team', '--threshold', '1', '--as', 'alice@bob'],
        /"bob" is no address of a contract wallet/,
      ],
      [['approve', p.id, '--as', 'alice'], /it was agreed on, and made epoch 2/],
    ] as const) {
      const { code, err } = await zos(...args)
      assert.notEqual(code, 0)
      assert.match(err, says)
    }
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
})
