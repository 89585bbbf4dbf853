import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import test from 'node:test'
import { ZosError } from '#codec'
import { key } from '../testing/world.ts'
import { leafOf, merkleProof, merkleRoot, rootFrom } from './leaf.ts'
import { parseSpec } from './parse.ts'
import { specSchema, workloadSchema } from './schema.ts'
import { openSealed, salted, sealSpecs } from './seal.ts'
import { resourcesOf, rulesOf, slotsOf } from './slots.ts'

const web = `name: web
workloads:
  - name: web
    image: web
    memory: 128m
    cpus: 1
    ports: [80]
    env: { SECRET: s3cr3t-one, VERSION: 1.10 }
    replicas: 1
`

test('the spec of the tour, with its defaults', () => {
  const spec = parseSpec(web, 'web.yaml')
  const [w] = spec.workloads
  assert.deepEqual(
    [w!.memory, w!.cpus, w!.ports, w!.replicas, w!.restart, w!.mode],
    [128, 1000, [{ port: 80, protocol: 'tcp' }], 1, 'unless-stopped', 'keep'],
  )
  assert.deepEqual(w!.env, { SECRET: 's3cr3t-one', VERSION: '1.10' }, 'text stays as it was typed')
  assert.deepEqual(resourcesOf(w!), { cpu: 1000, ram: 128, ssd: 1024, hdd: 0, uplink: 0, gpu: 0, ipv4: 0 })
  assert.deepEqual(
    parseSpec(JSON.stringify({ name: 'j', workloads: [{ name: 'a', image: 'b', memory: '64m' }] }), 'j.json')
      .workloads[0]!.memory,
    64,
  )
})

test('every field of a spec is read, in the units that the rest of the program counts in', () => {
  const spec = parseSpec(
    `name: all
expires: 90d
drain: 5m
farms: 2
geo: { countries: [de, FR], notCountries: [us] }
workloads:
  - name: db
    image: registry.example/db:1
    flist: ${'ab'.repeat(32)}
    memory: 1.5g
    cpus: 0.25
    disk: 2g
    uplink: 10m
    entrypoint: [/bin/db, --serve]
    args: --fast
    env: { A: b }
    secrets: { PASSWORD: p }
    user: 1000:1000
    workdir: /srv
    volumes: [{ name: data, path: /data, size: 10g, readonly: "false" }]
    ports: [5432, 53/udp]
    egress: internet
    names: [db-1]
    health: { http: ":80/ok", interval: 10s }
    restart: on-failure:5
    geo: { countries: [DE], regions: [de-by] }
    replicas: 2
    mode: fenced
    standby: true
    nodes: [n1, n2]
  - { name: job, image: j, flist: ${'cd'.repeat(32)}, memory: 64m }
`,
    'all.yaml',
  )
  const slots = slotsOf(spec)
  assert.deepEqual(
    slots.map((s) => [s.index, s.mode, s.node]),
    [
      [0, 1, 'n1'],
      [1, 1, 'n2'],
      [2, 0, undefined],
      [0, 2, undefined],
      [1, 2, undefined],
    ],
  )
  assert.deepEqual(slots[0]!.resources, { cpu: 250, ram: 1536, ssd: 12288, hdd: 0, uplink: 10000, gpu: 0, ipv4: 0 })
  assert.deepEqual([slots[0]!.countries, slots[2]!.countries, slots[0]!.regions], [['DE'], ['DE', 'FR'], ['DE-BY']])
  assert.deepEqual(rulesOf(spec), { allow: ['0x4445', '0x4652'], deny: ['0x5553'], farms: 2 })
  assert.equal(slots[0]!.spec.workload.replicas, undefined)
})

test('what is wrong is named by file, line, column and field', () => {
  const says = (text: string): string => {
    try {
      parseSpec(text, 'bad.yaml')
    } catch (error) {
      assert.ok(error instanceof ZosError)
      assert.equal(error.message.includes('\n'), false)
      return error.message
    }
    return 'taken'
  }
  assert.match(says(`${web}    colour: red\n`), /bad\.yaml:10:5: workloads\[0\]\.colour: there is no such field/)
  assert.match(says(`${web}    memory: lots\n`), /bad\.yaml:10:5: /)
  assert.match(says(`${web}   bad indent: [\n`), /bad\.yaml:\d+:\d+: /)
  assert.match(says(web.replace('128m', 'lots')), /bad\.yaml:5:5: workloads\[0\]\.memory: take a size such as/)
  assert.match(says(web.replace('    image: web\n', '')), /bad\.yaml:3:5: workloads\[0\]\.image: is missing/)
  assert.match(says(web.replace('[80]', '[80, 99999]')), /ports\[1\]: take a port from 1 to 65535/)
  const rule = (text: string) => says(web.replace('ports: [80]', `ports: [80]\n    ${text}`))
  assert.match(rule('allow: [{ from: [api], ports: [81] }]'), /allow: a port of a rule is not among the ports/)
  assert.match(rule('allow: [{ from: ["@all"], ports: [80] }]'), /allow\[0\]\.from\[0\]: take a workload's name/)
  assert.match(rule('allow: [{ ports: [80] }]'), /allow\[0\]\.from: is missing/)
  assert.match(rule('reach: [store]'), /reach\[0\]: take "DEPLOYMENT\/WORKLOAD"/)
  assert.match(says(web.replace('replicas: 1', 'replicas: two')), /take a whole number/)
  assert.match(says(''), /a spec is a mapping/)
  assert.match(says('- a\n- b\n'), /a spec is a mapping/)
  assert.match(says('name: x\nworkloads: []\n'), /list at least one/)
  assert.match(says(web.replace('name: web\nw', 'name: Web_\nw')), /bad\.yaml:1:1: name: take 1 to 63/)
  assert.match(says(`${web}  - { name: web, image: b, memory: 64m }\n`), /two workloads have one name/)
  assert.match(says(web.replace('replicas: 1', 'standby: true')), /a standby needs mode: fenced/)
  const more = (text: string) => says(`${web}    ${text}\n`)
  const volumes = (...paths: string[]) =>
    more(`volumes: [${paths.map((path, n) => `{ name: v${n}, path: ${path}, size: 16m }`).join(', ')}]`)
  assert.match(volumes('/a', '/b/../a/'), /10:5: workloads\[0\]\.volumes: two volumes have one path/)
  assert.match(volumes('/a/..'), /volumes: a volume cannot be at "\/"/)
  assert.match(
    more('volumes: [{ name: v, path: /a, size: 16m }, { name: v, path: /b, size: 16m }]'),
    /volumes: two volumes have one name/,
  )
  assert.match(more('health: { http: ":0/x" }'), /health\.http: take a port from 1 to 65535/)
  assert.match(more('health: { command: [] }'), /health\.command: take a command/)
  assert.match(more('nodes: [a, b]'), /nodes: more nodes than replicas/)
  // what would be signed by all and then not start: a slot's name is no label, a machine is not told so much
  const long = (letters: number) => says(web.replace('- name: web', `- name: ${'w'.repeat(letters)}`))
  assert.equal(long(59), 'taken')
  assert.match(long(60), /workloads\[0\]\.name: take at most 59 characters/)
  assert.match(more('secrets: { SECRET: 1 }'), /secrets: a variable is in "env" and in "secrets"/)
  const much = [1, 2, 3].map((n) => `V${n}: ${'x'.repeat(30_000)}`).join(', ')
  assert.match(more(`secrets: { ${much} }`), /env: its words and variables take more than 65536 bytes/)
  assert.match(more('secrets:'), /secrets: take a mapping such as \{ NAME: value \}$/)
  assert.match(more('health: up'), /health: take a mapping/)
  assert.match(more('args: {}'), /args: take one word, or a list/)
  assert.match(more('nodes: a'), /nodes: take a list/)
  assert.match(more(`user: ${'u'.repeat(129)}`), /user: take at most 128 characters/)
  assert.match(says(`${web}---\n${web}`), /a file holds one spec/)
  // no log holds more: proposed, nobody could approve it
  const names = (from: number, to: number) => Array.from({ length: to - from }, (_, n) => `n${from + n}`).join(', ')
  const named = (one: string, two: string) =>
    says(`${web}    names: [${one}]\n  - { name: api, image: b, memory: 64m, names: [${two}] }\n`)
  assert.equal(named(names(0, 8), names(8, 16)), 'taken')
  assert.match(named(names(0, 16), names(16, 17)), /2:1: workloads: more than 16 names in all/)
  assert.match(named('a, b', 'b'), /workloads: two names are one/)
  assert.match(more(`names: [${names(0, 17)}]`), /names: take at most 16 entries/)
  const bomb = `a: &a [x,x,x,x,x,x,x,x,x,x]\n${'bcdefgh'
    .split('')
    .map((c, i) => `${c}: &${c} [${Array(10).fill(`*${'abcdefgh'[i]}`)}]`)
    .join('\n')}\n`
  assert.match(says(bomb), /aliases/)
  const impossible = parseSpec(
    web
      .replace('workloads', `geo: { countries: [DE] }\nworkloads`)
      .replace('replicas: 1', `geo: { countries: [FR] }\n    flist: ${'ab'.repeat(32)}`),
    'x',
  )
  assert.throws(() => slotsOf(impossible), /Place workload "web": no place is in both "DE" and "FR"/)
})

test('each field refuses what it cannot be, at its line and by its name', () => {
  const wrong: Record<string, string> = {
    name: 'Upper_case',
    image: '""',
    flist: 'abc',
    private: 'maybe',
    memory: '12 parsecs',
    cpus: '-1',
    disk: '0',
    uplink: 'fast',
    entrypoint: '{}',
    args: '{ a: b }',
    env: '{ "1BAD NAME": x }',
    secrets: '[a]',
    user: `"${'u'.repeat(200)}"`,
    workdir: 'relative',
    volumes: '[{ name: data, path: data, size: 1g }]',
    ports: '[70000]',
    allow: '[{ from: [], ports: [80] }]',
    reach: '[store]',
    egress: 'everything',
    names: '["-x"]',
    health: '{ interval: 5s }',
    restart: 'sometimes',
    geo: '{ countries: [Belgium] }',
    replicas: '0',
    mode: 'floating',
    standby: 'perhaps',
    nodes: '{}',
  }
  assert.deepEqual(Object.keys(wrong).sort(), Object.keys(workloadSchema.shape).sort(), 'a field without a case')
  const good: Record<string, string> = { name: 'web', image: 'web', memory: '128m' }
  for (const [field, value] of Object.entries(wrong)) {
    const lines = Object.entries({ ...good, [field]: value }).map(([k, v]) => `    ${k}: ${v}`)
    lines[0] = lines[0]!.replace('   ', '  -')
    const text = `name: web\nworkloads:\n${lines.join('\n')}\n`
    const line = 3 + lines.findIndex((l) => l.slice(4).startsWith(`${field}:`))
    assert.throws(
      () => parseSpec(text, 'f.yaml'),
      (error: Error) => {
        assert.match(
          error.message,
          new RegExp(`^Read spec f\\.yaml:${line}:\\d+: workloads\\[0\\]\\.${field}[.:[]`),
          field,
        )
        return !error.message.includes('\n')
      },
    )
  }
})

/** A tree of the schema's own words and of values that look like them, as YAML's flow style. */
function grown(random: (n: number) => number, depth: number): string {
  const words = [...Object.keys(workloadSchema.shape), ...Object.keys(specSchema.shape), 'countries', 'path', 'size']
  const values = [
    'web',
    '1',
    '-0',
    '1e9',
    '128m',
    '""',
    'null',
    '~',
    '{}',
    '[]',
    '*a',
    '&a x',
    '!!js x',
    '"\\u0000"',
    '9'.repeat(40),
    'DE',
    'true',
  ]
  const some = (n: number, make: () => string) => Array.from({ length: random(n) }, make).join(', ')
  if (depth === 0 || random(3) === 0) return values[random(values.length)]!
  if (random(2)) return `[${some(4, () => grown(random, depth - 1))}]`
  return `{${some(6, () => `${words[random(words.length)]}: ${grown(random, depth - 1)}`)}}`
}

test('specs grown from the schema’s own words give one line or a spec', () => {
  let state = 20261124
  const random = (n: number) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    return (state >>> 8) % n
  }
  let taken = 0
  const rounds = process.env.ZOS_NIGHTLY ? 100_000 : 1500
  for (let i = 0; i < rounds; i++) {
    const more = Array.from({ length: random(4) }, () => {
      const fields = Object.keys(workloadSchema.shape)
      return `, ${fields[random(fields.length)]}: ${grown(random, 2)}`
    }).join('')
    const text = random(4) ? `{ name: a, workloads: [{ name: b, image: c, memory: 64m${more} }] }` : grown(random, 5)
    try {
      slotsOf(parseSpec(text, 'x.yaml'))
      taken++
    } catch (error) {
      assert.ok(error instanceof ZosError, `${text}: ${error}`)
      assert.ok(!error.message.includes('\n') && error.message.length < 4000, text)
      if (error.code === 'not-pinned') taken++
    }
  }
  assert.ok(taken > rounds / 50, `${taken} of ${rounds} were specs`)
})

test('a mangled spec never gives anything but one line or a spec', () => {
  for (let i = 0; i < 400; i++) {
    const bytes = Buffer.from(web)
    for (let n = 0; n <= i % 4; n++)
      bytes[Math.floor(Math.random() * bytes.length)] = 32 + Math.floor(Math.random() * 90)
    try {
      parseSpec(bytes.toString(), 'x.yaml')
    } catch (error) {
      assert.ok(error instanceof ZosError, `${bytes}: ${error}`)
      assert.match(error.message, /^Read spec x\.yaml(:\d+:\d+)?: /)
    }
  }
})

test('Merkle: each leaf proves its place, and no other', () => {
  for (let n = 1; n <= 17; n++) {
    const leaves = Array.from({ length: n }, () => `0x${randomBytes(32).toString('hex')}` as const)
    const root = merkleRoot(leaves)
    for (const [i, leaf] of leaves.entries()) {
      const proof = merkleProof(leaves, i)
      assert.equal(rootFrom(leaf, i, n, proof), root)
      for (let j = 0; j < n; j++) if (j !== i) assert.notEqual(rootFrom(leaf, j, n, proof), root)
      assert.notEqual(rootFrom(leaf, i, n, [...proof, leaf]), root)
      if (proof.length) assert.notEqual(rootFrom(leaf, i, n, proof.slice(1)), root)
    }
  }
})

test('sealed specs open for their node and readers alone, and a swapped one is refused', async () => {
  const [node1, node2, reader] = [key('node1'), key('node2'), key('reader')]
  const specs = [0, 1].map((slot) =>
    salted({ deployment: 'web', slot, replica: 0, workload: { env: { SECRET: 's3cr3t' }, n: slot } }),
  )
  const to = (n: number) => [n === 0 ? node1.seal : node2.seal, reader.seal]
  const { root, sealed } = await sealSpecs(specs, to)
  assert.equal(Buffer.from(sealed[0]!.bytes).includes('s3cr3t'), false)
  const expect = (n: number) => ({ blob: sealed[n]!.blob, specRoot: root, index: n, count: 2 })
  assert.deepEqual((await openSealed(sealed[0]!.bytes, node1.sealSecret, expect(0))).spec, specs[0]!.spec)
  assert.deepEqual((await openSealed(sealed[1]!.bytes, reader.sealSecret, expect(1))).spec, specs[1]!.spec)
  await assert.rejects(openSealed(sealed[0]!.bytes, node2.sealSecret, expect(0)), { code: 'not-a-recipient' })
  await assert.rejects(openSealed(sealed[1]!.bytes, reader.sealSecret, expect(0)), { code: 'blob-mismatch' })
  await assert.rejects(openSealed(sealed[1]!.bytes, reader.sealSecret, { ...expect(1), index: 0 }), {
    code: 'leaf-mismatch',
  })
  // sealed again for others: other blobs, the same root
  const again = await sealSpecs(specs, () => [reader.seal])
  assert.equal(again.root, root)
  assert.notEqual(again.sealed[0]!.blob, sealed[0]!.blob)
  // the same words under another salt: another leaf
  assert.notEqual(leafOf(specs[0]!.spec, randomBytes(32)), leafOf(specs[0]!.spec, specs[0]!.salt))
  for (let i = 0; i < sealed[0]!.bytes.length; i += 11) {
    const cut = sealed[0]!.bytes.slice(0, i)
    await assert.rejects(openSealed(cut, node1.sealSecret, expect(0)), { code: 'blob-mismatch' })
  }
  await assert.rejects(
    sealSpecs(specs, () => []),
    { code: 'no-recipient' },
  )
})
