// `npm start -- --once` on a bare Debian 13 that has git, Debian's own Node and npm: a root of its own, this machine's kernel.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { archivesOf, debianCodename } from '#vm'
import { ROOT } from './harness.ts'

const skip = process.env.ZOS_NIGHTLY === '1' ? false : 'five minutes and a gigabyte: ZOS_NIGHTLY=1'
const work = mkdtempSync(join(tmpdir(), 'zos-trixie-'))
const root = join(work, 'root')
const must = (file: string, args: string[], options = {}): string => {
  const { status, stdout, stderr, error } = spawnSync(file, args, { encoding: 'utf8', maxBuffer: 1 << 26, ...options })
  assert.equal(status, 0, `${file} ${args.join(' ')}: ${error ?? ''}${stderr?.slice(-4000)}${stdout?.slice(-4000)}`)
  return stdout
}

after(() => rmSync(work, { recursive: true, force: true }))

/** Those that run in the root. */
const left = (): string[] =>
  readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readlinkSync(`/proc/${pid}/root`).includes(root)
    } catch {
      return false // gone meanwhile
    }
  })

test('a clone sets itself up and all of it holds on Debian 13', { skip, timeout: 1_800_000 }, async () => {
  const [{ uri, signedBy } = { uri: '' }] = await archivesOf(await debianCodename())
  const key = signedBy?.startsWith('/') ? `[signed-by=${signedBy}] ` : ''
  const wanted = '--include=git,nodejs,npm,ca-certificates'
  must('mmdebstrap', ['--variant=minbase', '--quiet', wanted, 'trixie', root, `deb ${key}${uri} trixie main`])
  // how this machine reaches its archive and the registry of packages
  cpSync('/etc/apt/apt.conf.d', join(root, 'etc/apt/apt.conf.d'), { recursive: true })
  for (const file of ['/etc/resolv.conf', '/etc/hosts', '/etc/ssl/certs/ca-certificates.crt'])
    cpSync(file, join(root, file), { dereference: true })
  const npm = Object.entries(JSON.parse(must('npm', ['config', 'ls', '--json'])) as Record<string, unknown>)
  const registry = npm.filter(([name]) => /^(@.*:)?registry$|proxy$/.test(name))
  writeFileSync(
    join(root, 'root/.npmrc'),
    registry.flatMap(([name, value]) => (value ? `${name}=${value}\n` : [])).join(''),
  )
  must('git', ['clone', '--quiet', '--no-local', ROOT, join(root, 'root/zos')])
  const env = {
    HOME: '/root',
    PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
    NODE_EXTRA_CA_CERTS: '/etc/ssl/certs/ca-certificates.crt',
  }
  // the mounts are seen in there alone, and go with it
  const mounts = ['dev', 'proc', 'sys'].map((name) => `mount --rbind /${name} ${root}/${name}`)
  const inside = `cd /root/zos && apt-get -qq update && npm start -- --once`
  const script = [...mounts, `mount -t tmpfs run ${root}/run`, `exec chroot ${root} sh -c '${inside}'`].join(' && ')
  const said = must('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', script], { env })
  assert.match(said, /\nall of it held\n$/)
  assert.deepEqual(left(), [])
})
