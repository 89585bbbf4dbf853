// What is wrong is said in one clear line, and nothing of it has been sent anywhere.
import assert from 'node:assert/strict'
import { readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { groupNamed, openContext } from '../src/cli/grid/context.ts'
import { draftTransition, openKey, parseSpec, propose, readConsent } from '../src/contract/index.ts'
import { startGrid } from './grid.ts'
import { until } from './harness.ts'
import { PASSPHRASE } from './keys.ts'

const good = 'name: web\nworkloads:\n  - name: web\n    image: web\n    memory: 64m\n'
/** A line instead of another, or one more in the workload; and what is said of it. */
const fields: [was: string | null, is: string, said: RegExp][] = [
  ['name: web', 'name: Web', /:1:1: name: take 1 to 63/],
  ['name: web', 'title: web', /:1:1: name: is missing \(and 1 more\)/],
  ['    image: web\n', '', /workloads\[0\]\.image: is missing/],
  ['memory: 64m', 'memory: lots', /:5:5: workloads\[0\]\.memory: take a size such as/],
  ['memory: 64m', 'memory: 1k', /memory: take at least 16m/],
  [null, 'cpus: many', /:6:5: workloads\[0\]\.cpus: take a number of CPUs/],
  [null, 'cpus: "0"', /cpus: take 0\.001 to 1024/],
  [null, 'disk: -1g', /disk: take a size/],
  [null, 'uplink: fast', /uplink: take a rate/],
  [null, 'flist: abc', /flist: take the 64 hex digits/],
  [null, 'env: { "1BAD": x }', /env.*is no name of a variable/],
  [null, 'secrets: [a]', /secrets/],
  [null, 'workdir: relative', /workdir: take an absolute path/],
  [null, 'volumes: [{ name: a, path: "/a:b", size: 16m }]', /volumes\[0\]\.path: take an absolute path/],
  [null, 'volumes: [{ name: a, path: /a, size: 15m }]', /volumes\[0\]\.size: take at least 16m/],
  [null, 'volumes: [{ name: a, path: /a, size: 16m }, { name: b, path: /a, size: 16m }]', /two volumes have one path/],
  [null, 'volumes: [{ name: a, path: /a, size: 16m, readonly: maybe }]', /readonly: take true or false/],
  [null, 'ports: [99999]', /ports\[0\]: take a port from 1 to 65535/],
  [null, 'ports: [http]', /ports\[0\]: take a port/],
  [null, 'egress: some', /egress: take none or internet/],
  [null, 'names: ["-x"]', /names\[0\]: take 1 to 63/],
  [null, 'health: { http: "80" }', /health\.http: take a port and path/],
  [null, 'health: { interval: 5s }', /health: take one of command, http, tcp/],
  [null, 'restart: sometimes', /restart: take no, always/],
  [null, 'geo: { countries: [Germany] }', /countries\[0\]: take a country/],
  [null, 'geo: { countries: [DE], notCountries: [DE] }', /both allowed and forbidden/],
  [null, 'geo: { regions: [Bavaria] }', /regions\[0\]: take a region/],
  [null, 'replicas: 0', /replicas: take a whole number from 1 to 128/],
  [null, 'replicas: 500', /replicas: take a whole number from 1 to 128/],
  [null, 'mode: loose', /mode: take keep or fenced/],
  [null, 'standby: true', /a standby needs mode: fenced/],
  [null, 'colour: red', /:6:5: workloads\[0\]\.colour: there is no such field/],
  [null, 'memory: 65m', /:6:5: .*[Kk]ey/],
  ['workloads:', 'expires: soon\nworkloads:', /:2:1: expires: take a duration/],
  ['workloads:', 'drain: 60d\nworkloads:', /drain: take at most 30d/],
  ['workloads:', 'farms: 0\nworkloads:', /farms: take a whole number/],
]

test('each malformed field of a spec is named with its line and column', () => {
  for (const [was, is, said] of fields) {
    const text = was === null ? `${good}    ${is}\n` : good.replace(was, is)
    assert.notEqual(text, good)
    try {
      parseSpec(text, 'web.yaml')
    } catch (error) {
      const { message } = error as Error
      assert.match(message, /^Read spec web\.yaml:\d+:\d+: [^\n]*$/, is)
      assert.match(message, said, is)
      continue
    }
    assert.fail(`taken: ${is}`)
  }
})

test('each refusal is one line, and neither chain nor hub has heard of it', async () => {
  using grid = await startGrid(1)
  const { z, j, spec, refused, node } = grid
  z('key', 'new', 'mallory')
  process.env.ZOS_HOME = node.home
  const context = await openContext()
  const { group } = groupNamed(context, 'team')
  const alice = await openKey(join(node.home, 'keys'), 'alice', PASSPHRASE)

  const open = j<{ id: string }>('deploy', spec('web'), '--as', 'alice').id
  const specs = () => readdirSync(join(node.home, 'grid/hub/specs')).length
  const before = { open: j('proposals'), specs: specs() }
  // one whose time is over before a second approval comes
  const { group: team, state } = await readConsent(context.grid, group, 'late')
  const deadline = Math.floor(Date.now() / 1000) + 2
  const slots = [{ index: 0, node: 1, mode: 0, blob: `0x${'ab'.repeat(32)}` as const, resources: NOTHING }]
  const late = draftTransition(team, state, 'deploy', { specRoot: `0x${'cd'.repeat(32)}`, slots, deadline })
  const expired = await propose(context.grid, context.relayer, alice, { transition: late })
  await until('its time to be over', 10, () => Date.now() / 1000 > deadline + 1)

  const file = (name: string, text: string): string => {
    writeFileSync(join(node.work, name), text)
    return join(node.work, name)
  }
  const ofImage = (image: string) =>
    file(`${image.replaceAll('/', '-')}.yaml`, good.replace('image: web', `image: ${image}`))
  writeFileSync(join(node.home, 'keys', 'broken.json'), '{"format":"zos-key/1"}')
  const by = ['--as', 'alice']
  const web = 'http://127.0.0.1:1'
  const run = (rpc: string, hub: string, ...more: string[]) => [
    ...['node', 'run', '--home', grid.home('node1'), '--rpc', rpc, '--hub', hub],
    ...more,
  ]
  const rows: [args: string[], said: RegExp][] = [
    [['deploy', spec('far1', ['nodes: [nowhere]']), ...by], /there is no node "nowhere"/],
    [
      ['deploy', spec('far2', ['geo: { countries: [ZZ] }']), ...by],
      /none of 1 nodes is up and where the spec allows it/,
    ],
    [['deploy', spec('far3', [], ['geo: { notCountries: [BE] }']), ...by], /none of 1 nodes is up and where/],
    [
      ['deploy', spec('far4', ['geo: { countries: [BE] }'], ['geo: { countries: [DE] }']), ...by],
      /no place is in both/,
    ],
    [['deploy', spec('far5', [], ['farms: 2']), ...by], /to be on 2 farms, but only 1/],
    [['deploy', spec('big', ['disk: 100t']), ...by], /it needs \d+ MiB disk, the most free on a node is/],
    [['deploy', spec('other', ['flist: zz']), ...by], /other\.yaml:\d+:\d+: workloads\[0\]\.flist/],
    [['deploy', file('no.yaml', 'name: [\n'), ...by], /no\.yaml:\d+:\d+/],
    [['deploy', join(node.work, 'absent.yaml'), ...by], /absent\.yaml": ENOENT/],
    [['deploy', ofImage('nginx'), ...by, '--plan'], /image "nginx" of workload "web": it is not published, and --plan/],
    [
      ['deploy', ofImage('docker-archive:/no.tar'), ...by],
      /image "docker-archive:\/no.tar" of workload "web": .*no.tar/,
    ],
    [['deploy', spec('ok'), '--as', 'nobody'], /Open key "nobody": there is none/],
    [['deploy', spec('ok'), '--as', 'broken'], /Open key "broken": .* is damaged/],
    [['deploy', spec('ok'), '--as', 'mallory'], /is not one of its members/],
    [['deploy', spec('ok')], /say with --as who signs/],
    [['deploy', spec('ok'), '--group', 'them', ...by], /Find group "them": there is none/],
    [['approve', open, ...by], /approved it before/],
    [['approve', open, '--as', 'mallory'], /is not one of its members/],
    [['approve', expired.id, '--as', 'bob'], /its time is over; propose it anew/],
    [['approve', `0x${'0'.repeat(64)}`, '--as', 'bob'], /no open one has this id/],
    [['approve', 'zz', '--as', 'bob'], /write its id, "0x" and 6 digits/],
    [['freeze', 'nothing', ...by], /there is no such deployment/],
    [['cancel', 'nothing', ...by], /has no such deployment/],
    [['undo', 'nothing', ...by], /has no such deployment/],
    [['migrate', 'web/0', '--to', 'node1', ...by], /there is no such slot/],
    [['migrate', 'web', '--to', 'node1', ...by], /write zos migrate DEPLOYMENT\/SLOT/],
    [['status', 'nothing'], /none of that name/],
    [['forward', 'web/0', '80'], /write zos forward/],
    [['forward', 'web/0', '8080:0'], /write zos forward/],
    // more public names than a log holds: nobody could approve it
    [['deploy', spec('named', [`names: [${[...'abcdefghijklmnopq'].join(', ')}]`]), ...by], /take at most 16/],
    [['group', 'change', 'team', '--remove', 'mallory', ...by], /"mallory" is not one of its members/],
    [
      ['group', 'change', 'team', '--threshold', '9', ...by],
      /not within 1 and the total weight|above the total weight/,
    ],
    [['group', 'change', 'team', '--threshold', 'most', ...by], /Read threshold "most"/],
    [['group', 'create', 'x', '--member', 'alice', '--member', 'alice', '--threshold', '1'], /a member is named twice/],
    [['group', 'create', 'x', '--member', 'alice,weight=0', '--threshold', '1'], /weight/],
    [['key', 'new', 'alice'], /alice/],
    [['node', 'show', 'nowhere'], /there is none of that name/],
    [['grid', 'up', '--nodes', '0'], /takes a number from 1 to 64/],
    [run('ftp://127.0.0.1', web), /--rpc "ftp:\/\/127\.0\.0\.1": a chain is at http:/],
    [run(`${web},`, web), /--rpc "": a chain is at/],
    [run(web, 'nonsense'), /--hub "nonsense": a hub is at http:/],
    [run(web, web, '--peer', 'here'), /Read peer "here": not a transport/],
    [run(web, web, 'more'), /write zos node run/],
    [['log', '--verify', file('log.json', '{"format":"zos-approval-log/1"}')], /Verify approval log: at "/],
    [['log', '--verify', file('text.json', 'not a log')], /Verify approval log: not JSON/],
  ]
  const others = rows.flatMap(([args, said]) => {
    const line = refused(...args)
    return said.test(line) ? [] : [`${args.join(' ')}: ${line}`]
  })
  assert.deepEqual(others, [], 'said otherwise')
  const wrong = node.zos(['deploy', spec('ok'), '--as', 'alice'], { env: { ZOS_PASSPHRASE: 'wrong' } })
  assert.equal(wrong.err, 'zos: Open key "alice": wrong passphrase\n')
  for (const text of ['', '{', 'null', '{"name":"them"}']) {
    const them = file('home/groups/them.json', text)
    assert.match(refused('proposals'), /them\.json": it is damaged; .* remove it/)
    rmSync(them)
  }
  assert.deepEqual({ open: j('proposals'), specs: specs() }, before, 'nothing half-submitted')
  // who approves is told that what they sign is nowhere to be had, and not that it is hidden from them
  rmSync(join(node.home, 'grid/hub/specs'), { recursive: true })
  assert.match(z('approve', open, '--as', 'bob'), /a spec of these is at no hub: what runs is not shown/)
  // as with `zos run`: what nobody published yet is published first
  const source = `docker-archive:${join(node.work, 'web.tar')}`
  assert.match(z('deploy', ofImage(source), ...by), /proposed, 1 of 2 approvals/)
  assert.match(z('images'), /docker-archive:/)
})

const NOTHING = { cpu: 1, ram: 1, ssd: 1, hdd: 0, uplink: 0, gpu: 0, ipv4: 0 }
