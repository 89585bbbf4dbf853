import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { chmod, copyFile, mkdir, open, readFile, stat, symlink, truncate, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { run } from '#sys'
import { type CardLink, DISK_SIZE, qemuArgs } from '../args.ts'
import { tscKhz } from '../guest-clock.ts'
import { ensureInitramfs } from '../initramfs.ts'
import { ensureKernel } from '../kernel.ts'
import { findQemu } from '../qemu.ts'
import type { ProcessSpec, StartSpec } from './types.ts'

export const cacheDir = resolve(import.meta.dirname, '../../../.cache')

/** Why this machine cannot run the VM tests now, or undefined. Set-up fetches the kernel; a test does not. */
export const missing = (): string | undefined =>
  existsSync(join(cacheDir, 'kernel/current.json')) ? undefined : 'the guest kernel is not set up; run "./zos setup"'

/** NBD: the socket that serves it, instead of the file. */
export type Root = { file: string; root: StartSpec['root']; data: Buffer; nbd?: string }

/** A tree with busybox, users, and `/data.bin` of 16 MiB, as EROFS with its verity tree; FILL puts more into it. */
export async function makeRoot(dir: string, fill?: (tree: string) => void): Promise<Root> {
  const tree = join(dir, 'tree')
  for (const part of ['bin', 'etc', 'usr/bin', 'home/bob', 'seed']) await mkdir(join(tree, part), { recursive: true })
  await copyFile('/usr/bin/busybox', join(tree, 'bin/busybox'))
  const applets = (await run('/usr/bin/busybox', ['--list'])).stdout.toString().trim().split('\n')
  for (const name of applets) if (name !== 'busybox') await symlink('busybox', join(tree, 'bin', name))
  await writeFile(join(tree, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\nbob:x:1000:1000::/home/bob:/bin/sh\n')
  await writeFile(join(tree, 'etc/group'), 'root:x:0:\nwheel:x:10:bob\nbob:x:1000:\n')
  await writeFile(join(tree, 'seed/first'), 'of the image\n')
  await writeFile(join(tree, 'bin/not-executable'), '#!/bin/sh\n')
  await writeFile(join(tree, 'bin/no-interpreter'), '#!/bin/missing\n')
  await chmod(join(tree, 'bin/no-interpreter'), 0o755)
  const data = randomBytes(16 << 20)
  await writeFile(join(tree, 'data.bin'), data)
  fill?.(tree)
  const file = join(dir, 'root')
  await run('mkfs.erofs', ['-T0', '--all-root', file, tree])
  const dataBlocks = Math.ceil((await stat(file)).size / 4096)
  await truncate(file, dataBlocks * 4096)
  const args = ['--no-superblock', '--salt=-', `--hash-offset=${dataBlocks * 4096}`, `--data-blocks=${dataBlocks}`]
  const { stdout } = await run('veritysetup', ['format', ...args, file, file])
  const rootHash = /Root hash:\s*([0-9a-f]{64})/.exec(stdout.toString())![1]!
  await truncate(file, DISK_SIZE)
  return { file, root: { dataBlocks, hashStart: dataBlocks, rootHash }, data }
}

export type TestVm = AsyncDisposable & {
  pid: number
  socket: string
  nic: string
  console: () => Promise<string>
  gone: Promise<void>
}

/** What a test machine's card is on instead of a socket; in which network namespace, and whether it cuts packets itself. */
export type TestCard = { link: CardLink; namespace?: string; mac?: string; segments?: boolean }

/** Cold-boots a VM with fresh writable disks. */
export async function bootVm(dir: string, root: Root, memoryMiB = 256, card?: TestCard): Promise<TestVm> {
  await mkdir(dir, { recursive: true })
  const kernel = await ensureKernel({ cacheDir })
  const initramfs = await ensureInitramfs({ cacheDir, modulesRoot: kernel.modulesRoot })
  const files = [root.file, join(dir, 'upper'), join(dir, 'vol0')]
  for (const file of files.slice(1)) {
    if (existsSync(file)) continue
    await writeFile(file, '')
    await truncate(file, 256 << 20)
    await run('mkfs.ext4', ['-q', '-F', '-b', '4096', file])
    await truncate(file, DISK_SIZE)
  }
  const handles = [await open(files[0]!, 'r'), await open(files[1]!, 'r+'), await open(files[2]!, 'r+')]
  handles.push(await open(initramfs.modulesDisk, 'r'))
  const disk = (n: number) => ({ kind: 'file', fd: 3 + n, durable: true }) as const
  const args = qemuArgs({
    qemu: await findQemu(),
    accel: 'tcg',
    class: { vcpus: 1, memoryMiB },
    name: 'agent-test',
    sockets: { qmp: join(dir, 'qmp'), agent: join(dir, 'agent') },
    card: card?.link ?? { kind: 'stream', path: join(dir, 'nic') },
    disks: {
      root: root.nbd ? { kind: 'nbd', socket: root.nbd } : disk(0),
      upper: disk(1),
      modules: disk(3),
      volumes: [disk(2)],
    },
    boot: { vmlinux: kernel.vmlinux, initramfs: initramfs.path, append: `tsc_early_khz=${tscKhz() ?? 0}` },
  })
  const at = args.indexOf('ringbuf,id=console,size=65536')
  args[at] = `file,id=console,path=${join(dir, 'console')}`
  const device = args.findIndex((arg) => arg.startsWith('virtio-net-pci,'))
  if (card?.mac) args[device] = args[device]!.replace(/mac=[^,]+/, `mac=${card.mac}`)
  if (card?.segments) args[device] = args[device]!.replace(/,(host|guest)_(tso4|tso6|ecn|ufo)=off/g, '')
  // nobody reads the console over QMP here: the VM ends when the guest does
  const action = args.indexOf('reboot=shutdown,shutdown=pause')
  args[action] = 'reboot=shutdown,shutdown=poweroff'
  const inside = card?.namespace ? ['ip', 'netns', 'exec', card.namespace] : []
  const words = [...inside, 'qemu-system-x86_64', ...args]
  const qemu: ChildProcess = spawn(words[0]!, words.slice(1), {
    stdio: ['ignore', 'inherit', 'inherit', ...handles.map((h) => h.fd)],
  })
  for (const handle of handles) await handle.close()
  const gone = new Promise<void>((done) => qemu.once('exit', () => done()))
  const timer = setTimeout(() => qemu.kill('SIGKILL'), process.env.ZOS_FUZZ ? 3_600_000 : 240_000)
  if (card?.link.kind === 'tap') await writeFile(join(dir, 'nic'), `tap ${qemu.pid} ${card.link.name}\n`)
  return {
    pid: qemu.pid!,
    socket: join(dir, 'agent'),
    nic: join(dir, 'nic'),
    console: () => readFile(join(dir, 'console'), 'utf8'),
    gone,
    async [Symbol.asyncDispose]() {
      clearTimeout(timer)
      qemu.kill('SIGKILL')
      await gone
    },
  }
}

export function processOf(...argv: string[]): ProcessSpec {
  return { argv, env: [], cwd: '', user: '', tty: null, stdin: false }
}

export function startSpec(root: Root, process: ProcessSpec, more: Partial<StartSpec> = {}): StartSpec {
  return {
    hostname: 'guest1',
    root: root.root,
    machineId: randomBytes(16).toString('hex'),
    time: `${Date.now()}000000`,
    entropy: randomBytes(64).toString('base64'),
    memoryLimit: 0,
    cpus: 0,
    readOnly: false,
    confined: false,
    tmpfs: [],
    volumes: [],
    hosts: '127.0.0.1 localhost\n',
    resolvConf: '',
    init: false,
    process,
    ...more,
  }
}
