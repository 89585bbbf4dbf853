// Real programs out of Debian's packages, each with a smoke test of its own. Minutes: by night only.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, type TestContext, test } from 'node:test'
import { type DebianRecipe, debianImage } from '../../src/cli/demo/debian.ts'
import { DEMO_PAGE, NGINX } from '../../src/cli/demo/image.ts'
import { busyboxTree, type Node, ROOT, sha256, startNode, until } from '../harness.ts'
import { KERNEL_CASES } from './kernel.ts'
import { CADDY, JAVA, KERNEL, NODEJS, POSTGRES, PYTHON, REDIS, SYSTEMD } from './recipes.ts'
import { type Row, writeReport } from './report.ts'
import { imageOf, manyFiles } from './trees.ts'

const skip = process.env.ZOS_NIGHTLY ? false : 'minutes long: npm run nightly'

let node: Node
const rows: Row[] = []
before(() => {
  if (!skip) node = startNode()
})
after(() => {
  if (skip) return
  writeReport(rows)
  node[Symbol.dispose]()
})

/** One row of the report: publishes the image of RECIPE under its name, then SMOKE has to hold. */
function workload(recipe: DebianRecipe, shown: string, smoke: (name: string, t: TestContext) => unknown): void {
  row(recipe.name, shown, async (t) => {
    const image = await debianImage(join(ROOT, '.cache'), recipe, (line) => t.diagnostic(line))
    node.ok(['publish', `oci:${image}:1`, recipe.name], { timeout: 600 })
    await smoke(recipe.name, t)
  })
}

function row(workload: string, shown: string, run: (t: TestContext) => Promise<unknown>): void {
  test(`${workload}: ${shown}`, { skip }, async (t) => {
    const begun = performance.now()
    let held = false
    try {
      await run(t)
      held = true
    } finally {
      rows.push({ workload, shown, held, seconds: (performance.now() - begun) / 1000 })
      node.zos(['rm', '-f', workload])
    }
  })
}

const sh = (name: string, script: string, timeout = 120) =>
  node.ok(['exec', name, 'sh', '-c', script], { timeout }).text
const soon = (name: string, script: string, seconds = 90) =>
  until(script, seconds, () => node.zos(['exec', name, 'sh', '-c', script]).code === 0)
const freePort = () => 20000 + Math.floor(Math.random() * 12000)
const page = (port: number) =>
  until('the page', 90, () =>
    fetch(`http://127.0.0.1:${port}/`).then(
      (r) => (r.ok ? r.text() : undefined),
      () => undefined,
    ),
  )
const exitCode = (name: string) =>
  node.json<{ name: string; exitCode: number }[]>(['ps', '-a', '--json']).find((w) => w.name === name)?.exitCode

workload(NGINX, 'HTTP 200, a reload, a clean stop', async (name) => {
  const port = freePort()
  node.ok(['run', '-d', '--name', name, '-p', `${port}:80`, name])
  assert.equal(await page(port), DEMO_PAGE)
  sh(name, 'nginx -t && nginx -s reload')
  assert.equal(await page(port), DEMO_PAGE)
  node.ok(['stop', name])
  assert.equal(exitCode(name), 0)
})

workload(CADDY, 'FROM scratch with one Go program and its libraries: HTTP 200', async (name) => {
  const port = freePort()
  node.ok(['run', '-d', '--name', name, '-p', `${port}:80`, name])
  assert.equal(await page(port), 'scratch')
})

workload(REDIS, 'set and get, kept over stop and start', async (name) => {
  node.ok(['run', '-d', '--name', name, name])
  await soon(name, 'redis-cli ping')
  assert.equal(sh(name, 'redis-cli set key value && redis-cli get key && redis-cli save'), 'OK\nvalue\nOK\n')
  node.ok(['stop', name])
  node.ok(['start', name])
  await soon(name, 'redis-cli ping')
  assert.equal(sh(name, 'redis-cli get key'), 'value\n')
})

workload(POSTGRES, 'pgbench, and its tables after kill -9 of the whole machine', async (name) => {
  node.ok(['run', '-d', '--name', name, '-v', 'pg:/var/lib/postgresql', name])
  await soon(name, 'pg_isready -q')
  const bench = sh(name, 'pgbench -q -i -s 1 postgres && pgbench -n -c 2 -t 50 postgres', 300)
  assert.match(bench, /number of transactions actually processed: 100\/100/)
  node.ok(['kill', name])
  node.ok(['start', name])
  await soon(name, 'pg_isready -q')
  assert.match(sh(name, "psql -tAc 'select count(*) from pgbench_history' postgres"), /^100\n/)
})

const TLS = `
import ssl, socket, threading, subprocess
subprocess.run("openssl req -x509 -newkey rsa:2048 -nodes -keyout k.pem -out c.pem -days 2 -subj /CN=localhost "
  "-addext subjectAltName=DNS:localhost", shell=True, check=True, capture_output=True, cwd="/tmp")
server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); server.load_cert_chain("/tmp/c.pem", "/tmp/k.pem")
listener = socket.create_server(("127.0.0.1", 0))
def serve():
  with server.wrap_socket(listener.accept()[0], server_side=True) as s: s.sendall(s.recv(100).upper())
threading.Thread(target=serve).start()
client = ssl.create_default_context(cafile="/tmp/c.pem")
with client.wrap_socket(socket.create_connection(listener.getsockname()), server_hostname="localhost") as s:
  s.sendall(b"hello"); print(s.recv(100).decode(), s.version())
`
workload(PYTHON, 'TLS with itself: key, certificate, threads, verification', (name) => {
  assert.equal(node.ok(['run', '--rm', name, 'python3', '-c', TLS], { timeout: 200 }).text, 'HELLO TLSv1.3\n')
})

const NODE_SCRIPT = `
const { Worker } = require('worker_threads'), http = require('http'), crypto = require('crypto')
http.createServer((q, r) => r.end(crypto.createHash('sha256').update('x').digest('hex'))).listen(0, function () {
  http.get({ port: this.address().port }, r => r.on('data', d => {
    const w = new Worker("require('worker_threads').parentPort.postMessage(6 * 7)", { eval: true })
    w.on('message', m => { console.log(String(d).slice(0, 8), m); process.exit(3) }) }) ) })
`
workload(NODEJS, 'an HTTP server, a worker thread, an exit code', (name) => {
  const said = node.zos(['run', '--rm', name, 'node', '-e', NODE_SCRIPT], { timeout: 200 })
  assert.deepEqual([said.code, said.text], [3, `${sha256('x').slice(0, 8)} 42\n`])
})

workload(JAVA, 'keytool makes and reads a key; the memory limit is seen', (name) => {
  const key =
    'keytool -genkeypair -alias a -keyalg EC -dname CN=zos -keystore /tmp/s -storepass secret && keytool -list -keystore /tmp/s -storepass secret'
  assert.match(node.ok(['run', '--rm', name, 'sh', '-c', key], { timeout: 600 }).text, /^a, .*PrivateKeyEntry/m)
  const trace = 'java -Xlog:os+container=trace -version'
  const said = node.ok(['run', '--rm', '--memory', '400m', name, 'sh', '-c', trace], { timeout: 300 }).text
  assert.match(said, new RegExp(`Memory Limit is: ${400 << 20}$`, 'm'))
})

/** Units that fail in a workload, each with its reason. */
const FAILED_UNITS: Record<string, string> = {}

workload(SYSTEMD, 'as PID 1: running, failed units as listed, services, journal; shuts down in order', async (name) => {
  node.ok(['run', '-d', '--name', name, name])
  await soon(name, 'systemctl is-system-running --wait || systemctl is-system-running | grep -q degraded', 180)
  const failed = sh(name, 'systemctl --failed --plain --no-legend')
    .split('\n')
    .filter((l) => l !== '')
  assert.deepEqual(failed.map((l) => l.split(' ')[0]).sort(), Object.keys(FAILED_UNITS).sort())
  assert.equal(sh(name, 'systemctl is-active ssh cron dbus'), 'active\nactive\nactive\n')
  assert.match(
    sh(name, 'systemd-run --wait --pipe -p MemoryMax=50M cat /proc/self/cgroup'),
    /^0::\/system\.slice\/run-/,
  )
  assert.match(sh(name, 'journalctl -u ssh --no-pager'), /Server listening/)
  assert.equal(sh(name, 'cat /etc/machine-id').trim().length, 32)
  const begun = performance.now()
  node.ok(['stop', '-t', '60', name])
  // as PID 1 it ends with the signal the kernel gives one that called reboot(2) to halt
  assert.equal(exitCode(name), 130)
  assert.ok(performance.now() - begun < 50_000, 'it was killed')
})

workload(KERNEL, 'what a plain container cannot do, as below', async (name, t) => {
  node.ok(['run', '-d', '--name', name, '--memory', '1g', '-v', 'containers:/var/lib/containers', name])
  for (const { name: shown, script, says } of KERNEL_CASES) {
    const begun = performance.now()
    let held = false
    await t.test(shown, () => {
      const said = node.zos(['exec', '-i', name, 'sh'], { input: script, timeout: 300 })
      assert.match(said.text, says, said.err)
      held = true
    })
    rows.push({ workload: 'inside', shown, held, seconds: (performance.now() - begun) / 1000 })
  }
})

row('60000-files', '60,000 small files, each with its own name and content', async () => {
  const dir = manyFiles(join(node.work, 'many'))
  const contents = Array.from({ length: 60_000 }, (_, n) => `${n}\n`)
  const source = await imageOf(node.work, [busyboxTree(join(node.work, 'box')), dir], { Env: ['PATH=/bin'] })
  node.ok(['publish', source, 'many'], { timeout: 600 })
  const script = 'cd /; find d* -type f | wc -l; find d* -type f -exec cat {} + | sort -n | sha256sum'
  const said = node.ok(['run', '--rm', 'many', 'sh', '-c', script], { timeout: 600 }).text
  assert.equal(said, `60000\n${sha256(contents.join(''))}  -\n`)
})
