import assert from 'node:assert/strict'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import type { Server } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import test, { after } from 'node:test'
import { serveUnix } from '#sys'
import type { CopyEntry } from '#vm'
import { Frame, places, readFrames, writeFrame } from '#wire'
import { copyToDisk } from './disk.ts'
import { tarHeader } from './tar-header.ts'

const work = mkdtempSync(join(tmpdir(), 'zos-cp-'))
process.env.ZOS_HOME = join(work, 'home')
const { api, run } = places()
after(() => {
  for (const dir of [work, run]) rmSync(dir, { recursive: true, force: true })
})

type Sent = Partial<CopyEntry> & { path: string; text?: string; mode?: number }

/** Copies what a daemon sends that stands for a workload's. */
async function copied(to: string, sent: Sent[]): Promise<void> {
  mkdirSync(dirname(api), { recursive: true })
  const server: Server = await serveUnix(api, {
    upgrades: {
      'POST /workloads/:ref/copy-out': (_call, open) => {
        const stream = open()
        readFrames(
          stream.on('error', () => {}),
          () => {
            for (const { text = '', ...entry } of sent) {
              const whole = {
                type: 'file',
                mode: 0o640,
                uid: 0,
                gid: 0,
                mtime: '1000000000',
                size: text.length,
                ...entry,
              }
              writeFrame(stream, Frame.entry, whole)
              if (text !== '') writeFrame(stream, Frame.data, Buffer.from(text))
            }
            writeFrame(stream, Frame.exit, { code: 0 })
          },
        )
      },
    },
  })
  try {
    await copyToDisk({ workload: 'w', path: '/data' }, to, { follow: false, archive: false })
  } finally {
    server.close()
    server.closeAllConnections()
  }
}

let folders = 0
function folder() {
  const dir = join(work, String(folders++))
  mkdirSync(dir)
  return dir
}

test('a file takes the place of a longer one whole, and a link that of another link', async () => {
  const dir = folder()
  const root = { path: '', type: 'directory', mode: 0o755 } as const
  await copied(dir, [root, { path: 'a', text: 'a long text' }, { path: 'l', type: 'symlink', linkname: 'a' }])
  await copied(dir, [root, { path: 'a', text: 'short' }, { path: 'l', type: 'symlink', linkname: 'b' }])
  assert.equal(readFileSync(join(dir, 'data/a'), 'utf8'), 'short')
  assert.equal(readlinkSync(join(dir, 'data/l')), 'b')
  // named by its own path, through a link that is the person's own
  writeFileSync(join(dir, 'mine'), 'a long text')
  symlinkSync('mine', join(dir, 'link'))
  await copied(join(dir, 'link'), [{ path: '', text: 'short' }])
  assert.equal(readFileSync(join(dir, 'mine'), 'utf8'), 'short')
})

test('no link that a workload had copied leads a later file, mode or time out of the folder', async () => {
  const dir = folder()
  const theirs = join(dir, 'theirs')
  const secret = join(dir, 'secret')
  mkdirSync(theirs, { mode: 0o700 })
  writeFileSync(secret, 'mine', { mode: 0o600 })
  const before = statSync(secret).mtimeMs
  const root = { path: '', type: 'directory', mode: 0o755 } as const
  const link = (path: string, linkname: string): Sent => ({ path, type: 'symlink', linkname })
  const out = join(dir, 'out')
  mkdirSync(out)
  await copied(out, [root, link('x', secret), link('d', theirs), { path: 'x', text: 'evil', mode: 0o777 }])
  await copied(out, [root, link('x', secret), link('y', secret)])
  await copied(out, [root, { path: 'd', type: 'directory', mode: 0o777 }, { path: 'x', text: 'evil', mode: 0o777 }])
  await copied(out, [root, { path: 'z', text: 'z' }, link('z', secret)])
  rmSync(join(out, 'data'), { recursive: true })
  symlinkSync(secret, join(out, 'data'))
  await copied(out, [{ path: '', text: 'evil', mode: 0o777 }])
  assert.equal(readFileSync(join(out, 'data'), 'utf8'), 'evil')
  assert.equal(readFileSync(secret, 'utf8'), 'mine')
  assert.deepEqual([statSync(secret).mode & 0o777, statSync(secret).mtimeMs], [0o600, before])
  assert.equal(lstatSync(theirs).mode & 0o777, 0o700)
})

test('a path that ends in a slash, or a link that leads to one, is a folder: a file goes into it, not in its place', async () => {
  const dir = folder()
  await assert.rejects(copied(join(dir, 'none/'), [{ path: '', text: 'x' }]), { code: 'no-such-folder' })
  assert.equal(existsSync(join(dir, 'none')), false)
  await copied(join(dir, 'made/'), [{ path: '', type: 'directory', mode: 0o755 }])
  assert.ok(statSync(join(dir, 'made')).isDirectory())
  // a person's own link to one leads into it, with and without the slash
  symlinkSync('made', join(dir, 'link'))
  await copied(join(dir, 'link'), [{ path: '', text: 'x' }])
  assert.equal(readFileSync(join(dir, 'made/data'), 'utf8'), 'x')
})

test('a time before 1970 is in an archive as PAX has it', () => {
  const entry = { path: 'old', type: 'file', mode: 0o644, uid: 0, gid: 0, size: 0 } as const
  for (const [mtime, said] of [
    ['-500000000', '-0.500000000'],
    ['-5000000000', '-5.000000000'],
    ['1500000000', '1.500000000'],
  ] as const) {
    const header = tarHeader({ ...entry, mtime })
    assert.ok(header.includes(`mtime=${said}\n`), mtime)
    const plain = header.subarray(-512).toString('latin1', 136, 147)
    assert.match(plain, /^[0-7]{11}$/, mtime)
  }
})
